"""Check one file of a release: its bytes, its keys, its tensors, and whether the library that it is for loads it."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.nonfinite import count_nonfinite
from ..checkpoint.plain_config import describe_type
from ..checkpoint.tensor import LazyTensor
from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, listing, printable, reason
from ..experiment.config import Config
from ..experiment.walk import walk
from ..experiment.xp import MANIFEST
from ..formats.requirements import require_packages
from ..formats.safetensors.file import read_safetensors
from ..formats.safetensors.layout import read_json
from ..release.families.multiband_diffusion import FILE as DIFFUSION_FILE
from ..release.families.registry import LM_FILE, OWN_NAMES
from ..release.owned_files import matches_manifest
from ..release.weights import Weights
from ..storage.durable_file import WrittenFile

MODEL_SHAPE = {"best_state": dict, "xp.cfg": str, "version": str, "exported": bool}
REFERENCE_SHAPE = {"pretrained": str, "exported": bool, "version": str}
PART_SHAPE = {"model": dict, "version": str, "exported": bool}
BAND_SHAPE = {"cfg": dict, "model_state": dict, "processor_state": dict, "xp.cfg": str}


@dataclass(frozen=True)
class Problem:
    """A problem of a release."""

    file: str  # its name
    key: Optional[str]  # dotted, within the file; None for the file as a whole
    what: str  # the rest of the sentence

    def __str__(self) -> str:
        return printable(f"{self.file}: {f'{self.key} ' if self.key else ''}{self.what}.")


@dataclass
class Contents:
    """What was read in the files of a release, by their names."""

    states: dict[str, Mapping[Any, Any]] = field(default_factory=dict)  # what a file of torch holds
    nonfinite: dict[str, dict[str, int]] = field(default_factory=dict)  # NaN and infinite values by tensor, if any
    by_torch: bool = True  # whether torch is asked, too


def check_file(path: Path, listed: Optional[WrittenFile], contents: Contents) -> list[Problem]:
    """The problems of a file with this entry in the manifest, or none; `contents` gets what is in it."""
    if not os.path.isfile(path):
        return [Problem(path.name, None, "is no file" if os.path.lexists(path) else "is missing")]
    try:
        problems = list(_content_problems(path, listed is not None, contents))
    except CheckpointError as exc:
        problems = [Problem(path.name, None, f"cannot be read ({exc})")]
    if listed and not problems and not matches_manifest(path.parent, listed):
        return [Problem(path.name, None, f"has other bytes than {MANIFEST} says (sha256), although all in it is sound")]
    return problems


def _content_problems(path: Path, is_listed: bool, contents: Contents) -> Iterator[Problem]:
    if path.suffix == ".yaml":
        Config.load(path)
    elif path.suffix == ".json":
        read_json(path)
    elif path.suffix == ".safetensors":
        yield from _safetensors_problems(path, contents)
    elif path.suffix != ".model":  # a tokenizer's vocabulary: there is only its sha256 to compare
        yield from _torch_problems(path, is_listed, contents)


def _torch_problems(path: Path, is_listed: bool, contents: Contents) -> Iterator[Problem]:
    file = TorchFile.read(path)
    if "exported" not in file.state and "xp.sig" in file.state:
        sections = listing([*map(str, file.state)])
        yield Problem(path.name, None, f"is a training checkpoint ({sections}), and no release: export it")
        return
    contents.states[path.name] = file.state
    problems = [*key_problems(path.name, file.state), *_tensor_problems(file, is_listed, contents)]
    if file.unknown_globals:
        problems.insert(0, Problem(path.name, None, f"names what no release holds: {listing(file.unknown_globals)}"))
    yield from problems or (_torch_load_problems(path) if contents.by_torch else ())


def _safetensors_problems(path: Path, contents: Contents) -> Iterator[Problem]:
    yield from _value_problems(path.name, read_safetensors(path).tensors, contents)
    require_packages(f"Verifying {path.name}", "safetensors")
    import safetensors
    try:
        with safetensors.safe_open(path, "pt") as file:
            file.keys()
    except Exception as exc:  # whatever the library says is the answer
        yield Problem(path.name, None, f"is not opened by safetensors {safetensors.__version__} "
                                       f"({type(exc).__name__}: {reason(exc)})")


def key_problems(name: str, state: Mapping[Any, Any]) -> Iterator[Problem]:
    """The problems with the keys of a file of torch, and with the types of their values."""
    shape = _shape(name, state)
    for key, kind in walk(shape):
        value = _find(state, key)
        shown = ".".join(map(str, key))
        if value is None:
            yield Problem(name, shown, "is missing")
        elif not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            yield Problem(name, shown, f"is {describe_type(value)}, not what belongs there")
        elif key[-1] == "exported" and value is not True:
            yield Problem(name, shown, "is not True")
        elif key[-1] == "xp.cfg":
            try:
                Config.parse(value)
            except CheckpointError as exc:
                yield Problem(name, shown, f"is no configuration ({exc})")
    for other in [key for key in state if key not in shape]:
        yield Problem(name, str(other), "does not belong there")


def _shape(name: str, state: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The keys that belong in a file, with their types: by its name, or by its content if it has another name."""
    if name == DIFFUSION_FILE or "n_bands" in state and name not in OWN_NAMES:
        count = state.get("n_bands")
        bands = range(count if isinstance(count, int) and 0 < count < 1000 else 1)
        return {"sample_rate": Real, "n_bands": int, **dict.fromkeys(bands, BAND_SHAPE), "version": str,
                "exported": bool}
    if "pretrained" in state and name != LM_FILE:
        return REFERENCE_SHAPE
    return PART_SHAPE if "model" in state and name not in OWN_NAMES else MODEL_SHAPE


def _find(state: Any, key: tuple[Any, ...]) -> Any:
    for name in key:
        state = state.get(name) if isinstance(state, dict) else None
    return state


def _value_problems(name: str, tensors: Mapping[str, LazyTensor], contents: Contents) -> Iterator[Problem]:
    """What is damaged of the values of tensors; `contents` gets how many are NaN or infinite."""
    for key, found in count_nonfinite(tensors):
        if isinstance(found, CheckpointError):
            yield Problem(name, key, f"is damaged ({found})")
        elif found:
            contents.nonfinite.setdefault(name, {})[key] = found


def _tensor_problems(file: TorchFile, compact: bool, contents: Contents) -> Iterator[Problem]:
    """The problems of the tensors of a file, which in a release are `compact`, and of its other records."""
    name = file.path.name
    try:
        tensors = Weights(file.state, "", "").tensors
    except (CheckpointError, RecursionError) as exc:
        yield Problem(name, None, f"holds what no release holds ({reason(exc)})")
        return
    if not tensors and "pretrained" not in file.state:
        yield Problem(name, None, "holds no tensor")
    for key, tensor in tensors.items():
        if compact and (not tensor.is_contiguous or tensor.nbytes != tensor.blob.nbytes or tensor.conj or tensor.neg):
            yield Problem(name, key, "does not own exactly its bytes")
    yield from _value_problems(name, tensors, contents)
    used = {id(tensor.blob) for tensor in tensors.values()}
    for record in file.archive.names:
        try:
            blob = file.archive.blob(record)
            if id(blob) not in used:
                blob.verify()
                if record.startswith("data/"):
                    yield Problem(name, None, f"holds bytes that no tensor has ({record})")
        except CheckpointError as exc:
            yield Problem(name, None, f"is damaged ({exc})")


def _torch_load_problems(path: Path) -> Iterator[Problem]:
    import torch
    try:
        torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except Exception as exc:  # whatever torch says is the answer
        yield Problem(path.name, None, f"is not loaded by torch {torch.__version__} with weights_only=True "
                                       f"({type(exc).__name__}: {reason(exc)})")
