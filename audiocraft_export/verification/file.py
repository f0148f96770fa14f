"""Check one file of a release: bytes, keys, tensors, and whether its library loads it."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.allowlist import describe_type
from ..checkpoint.state_dict import count_nonfinite, named_tensors
from ..checkpoint.tensor import LazyTensor
from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, listing, printable, reason
from ..experiment.config import Config
from ..experiment.walk import find, walk
from ..experiment.xp import MANIFEST
from ..formats.safetensors.file import read_safetensors
from ..formats.safetensors.layout import read_json
from ..release.families.multiband_diffusion import FILE as DIFFUSION_FILE
from ..release.families.registry import LM_FILE, OWN_NAMES
from ..release.owned_files import is_torch_file, matches_manifest
from ..requirements import require_packages
from ..storage.durable_file import WrittenFile

MODEL_SHAPE = {"best_state": dict, "xp.cfg": str, "version": str, "exported": bool}
REFERENCE_SHAPE = {"pretrained": str, "exported": bool, "version": str}
PART_SHAPE = {"model": dict, "version": str, "exported": bool}
KIND_NAMES = {dict: "a dict", str: "a str", int: "an int", bool: "a bool", Real: "a number"}  # for messages
BAND_SHAPE = {"cfg": dict, "model_state": dict, "processor_state": dict, "xp.cfg": str}


@dataclass(frozen=True)
class Problem:
    """A problem found in a release."""

    file: str  # name of the file
    key: Optional[str]  # dotted key in the file; None for the file as a whole
    what: str  # description of the problem, without the names of the file and the key

    def __str__(self) -> str:
        return printable(": ".join(filter(None, (self.file, self.key, self.what))))


@dataclass
class Contents:
    """The content that was read from the files of a release, by file name."""

    states: dict[str, Mapping[Any, Any]] = field(default_factory=dict)  # content of the files of torch.save
    nonfinite: dict[str, dict[str, int]] = field(default_factory=dict)  # number of NaN and infinite values by tensor
    by_torch: bool = True  # whether to load the files with torch as well


def check_file(path: Path, listed: Optional[WrittenFile], contents: Contents) -> list[Problem]:
    """Check a file of a release.

    Args:
        path: the file.
        listed: its entry in the manifest; None if it is not listed.
        contents: receives the content of the file.

    Returns:
        The problems; empty if the file is intact.
    """
    if not os.path.isfile(path):
        return [Problem(path.name, None, "not a file" if os.path.lexists(path) else "missing")]
    try:
        problems = list(_content_problems(path, listed is not None, contents))
    except CheckpointError as exc:
        problems = [Problem(path.name, None, without_path(exc.message, path))]
    if listed and not problems and not matches_manifest(path.parent, listed):
        valid = ", although the checksums of its records are right" if is_torch_file(path.name) else ""
        return [Problem(path.name, None, f"sha256 differs from {MANIFEST}{valid}")]
    return problems


def without_path(message: str, path: Path) -> str:
    """Return the message of an error about a file without its path, which is printed before the message."""
    return message.replace(f"Cannot read {path}: ", "cannot read it: ").replace(f"{path}: ", "").replace(f"{path} ", "")


def _content_problems(path: Path, is_listed: bool, contents: Contents) -> Iterator[Problem]:
    """Check the content of a file by its type."""
    if path.suffix == ".yaml":
        Config.load(path)
    elif path.suffix == ".json":
        read_json(path)
    elif path.suffix == ".safetensors":
        yield from _safetensors_problems(path, contents)
    elif path.suffix != ".model":  # the vocabulary of a tokenizer, which is only checked by its sha256
        yield from _torch_problems(path, is_listed, contents)


def _torch_problems(path: Path, is_listed: bool, contents: Contents) -> Iterator[Problem]:
    """Check the keys and the tensors of a file of torch.save, and that torch loads the file."""
    file = TorchFile.read(path)
    if "exported" not in file.state and "xp.sig" in file.state:
        sections = listing([*map(str, file.state)])
        yield Problem(path.name, None, f"training checkpoint ({sections}), not a release: export it first")
        return
    contents.states[path.name] = file.state
    problems = [*key_problems(path.name, file.state), *_tensor_problems(file, is_listed, contents)]
    if file.unknown_globals:
        problems.insert(0, Problem(path.name, None, f"unknown globals {listing(file.unknown_globals)}"))
    yield from problems or (_torch_load_problems(path) if contents.by_torch else ())


def _safetensors_problems(path: Path, contents: Contents) -> Iterator[Problem]:
    """Check the tensors of a .safetensors file, and that the safetensors library opens it."""
    yield from _value_problems(path.name, read_safetensors(path).tensors, contents)
    require_packages(f"Verifying {path.name}", "safetensors")
    import safetensors
    try:
        with safetensors.safe_open(path, "pt") as file:
            file.keys()
    except Exception as exc:  # any error of the library is the result of the check
        yield Problem(path.name, None, f"safetensors {safetensors.__version__} cannot open the file "
                                       f"({type(exc).__name__}: {reason(exc)})")


def key_problems(name: str, state: Mapping[Any, Any]) -> Iterator[Problem]:
    """Check the keys of a file of torch.save and the types of their values."""
    shape = _shape(name, state)
    for key, kind in walk(shape):
        value = find(state, key)
        shown = ".".join(map(str, key))
        if value is None:
            yield Problem(name, shown, "missing")
        elif not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            yield Problem(name, shown, f"expected {KIND_NAMES.get(kind, kind.__name__)}, got {describe_type(value)}")
        elif key[-1] == "exported" and value is not True:
            yield Problem(name, shown, "must be True")
        elif key[-1] == "xp.cfg":
            try:
                Config.parse(value)
            except CheckpointError as exc:
                yield Problem(name, shown, f"invalid configuration ({exc.message})")
    for other in [key for key in state if key not in shape]:
        yield Problem(name, str(other), "unexpected key")


def _shape(name: str, state: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the expected keys of a file with their types, by its name, or by its content if it was renamed."""
    if name == DIFFUSION_FILE or "n_bands" in state and name not in OWN_NAMES:
        count = state.get("n_bands")
        bands = range(count if isinstance(count, int) and 0 < count < 1000 else 1)
        return {"sample_rate": Real, "n_bands": int, **dict.fromkeys(bands, BAND_SHAPE), "version": str,
                "exported": bool}
    if "pretrained" in state and name != LM_FILE:
        return REFERENCE_SHAPE
    return PART_SHAPE if "model" in state and name not in OWN_NAMES else MODEL_SHAPE


def _value_problems(name: str, tensors: Mapping[str, LazyTensor], contents: Contents) -> Iterator[Problem]:
    """Check the CRC-32 of tensors; `contents` receives the number of NaN and infinite values."""
    for key, found in count_nonfinite(tensors):
        if isinstance(found, CheckpointError):
            yield Problem(name, key, f"corrupted ({found.message})")
        elif found:
            contents.nonfinite.setdefault(name, {})[key] = found


def _tensor_problems(file: TorchFile, compact: bool, contents: Contents) -> Iterator[Problem]:
    """Check the tensors and the other records of a file; `compact` tensors must own exactly their storage."""
    name = file.path.name
    try:
        tensors = named_tensors(file.state)
    except CheckpointError as exc:
        yield Problem(name, None, f"unsupported content ({exc.message})")
        return
    if not tensors and "pretrained" not in file.state:
        yield Problem(name, None, "no tensors")
    for key, tensor in tensors.items():
        if compact and (not tensor.is_contiguous or tensor.nbytes != tensor.blob.nbytes or tensor.conj or tensor.neg):
            yield Problem(name, key, "not compact: its storage has other bytes or another order")
    yield from _value_problems(name, tensors, contents)
    used = {id(tensor.blob) for tensor in tensors.values()}
    for record in file.archive.names:
        try:
            blob = file.archive.blob(record)
            if id(blob) not in used:
                blob.verify()
                if record.startswith("data/"):
                    yield Problem(name, None, f"unreferenced storage {record}")
        except CheckpointError as exc:
            yield Problem(name, None, f"corrupted ({exc.message})")


def _torch_load_problems(path: Path) -> Iterator[Problem]:
    """Check that torch loads a file without unpickling objects."""
    import torch
    try:
        torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except Exception as exc:  # any error of torch is the result of the check
        yield Problem(path.name, None, f"torch {torch.__version__} with weights_only=True cannot load the file "
                                       f"({type(exc).__name__}: {reason(exc)})")
