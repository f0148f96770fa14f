"""Is a release what it says it is? Its manifest, its bytes, its keys, its tensors, and whether torch loads it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional

from .checkpoint import TorchFile
from .config import Config
from .diffusion import FILE as DIFFUSION_FILE
from .edition import edition
from .errors import CheckpointError, ReleaseError, listing, printable, reason
from .experiment import AnyPath
from .families import CODEC_FILE, LM_FILE, OWN_NAMES, is_archive, listed_by
from .plain import stranger_name
from .release import MANIFEST, RELEASE_FOLDER, Manifest, WrittenFile
from .weights import Weights
from .writer import is_intact

Shape = Mapping[Any, Any]
MODEL: Shape = {"best_state": dict, "xp.cfg": str, "version": str, "exported": bool}
REFERENCE: Shape = {"pretrained": str, "exported": bool, "version": str}
PART: Shape = {"model": dict, "version": str, "exported": bool}
BAND: Shape = {"cfg": dict, "model_state": dict, "processor_state": dict, "xp.cfg": str}
MOST_EDITIONS = 10  # of a release that is replaced again and again while it is verified
WEIGHTS = ("best_state", "model", "model_state")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a release.

    Args:
        file: the name of the file.
        key: the dotted name of what is wrong in it, if it is not the file as a whole.
        what: the rest of the sentence.
    """

    file: str
    key: Optional[str]
    what: str

    def __str__(self) -> str:
        return printable(f"{self.file}: {f'{self.key} ' if self.key else ''}{self.what}.")


@dataclass(frozen=True)
class Verification:
    """What was found out about a release.

    Args:
        path: the folder, or the file.
        files: the names of the files that were looked at.
        problems: what is wrong; nothing, if it is what it says.
    """

    path: Path
    files: list[str]
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems)) or printable(f"{self.path} is what it says it is.")


def verify(path: AnyPath) -> Verification:
    """Prove that a release is sound, reading all of it.

    The manifest (with its own checksum), the sha256 and the size of every file, each record's CRC-32, the keys and the
    types of what stands under them, the number, dtype and place of the tensors, the configuration as YAML, and that
    `torch.load(weights_only=True)` takes each file.

    Args:
        path: a release folder, or one of its files; of a file without a manifest beside it, all but its sha256 is
            proved.

    Returns:
        What is wrong, file by file and key by key.

    Raises:
        ReleaseError: if there is nothing at `path`.
    """
    path = Path(path)
    if not os.path.lexists(path) and not os.path.isfile(path.parent / MANIFEST):
        raise ReleaseError(f"There is no file or folder {path}: name a release folder, or a file of one.")
    if not os.path.lexists(path / MANIFEST) and os.path.isfile(path / RELEASE_FOLDER / MANIFEST):
        raise ReleaseError(f"{path} is the folder of an experiment: its release is {path / RELEASE_FOLDER}.")
    folder, alone = (path, None) if os.path.isdir(path) else (path.parent, path.name)
    for _ in range(MOST_EDITIONS):
        before = edition(folder / MANIFEST)
        found = _verified(path, folder, alone)
        if found.ok or before == edition(folder / MANIFEST):
            break
    return found


def _verified(path: Path, folder: Path, alone: Optional[str]) -> Verification:
    manifest, problems = _read_manifest(folder, alone)
    listed = {file.name: file for file in manifest.files} if manifest else {}
    names = [alone] if alone else _names(folder, manifest)
    states: dict[str, Mapping[Any, Any]] = {}
    for name in names:
        if name != MANIFEST:
            problems += _file_problems(folder / name, listed.get(name), states)
    if manifest and not alone:
        problems += _listing_problems(manifest, names)
        if all(problem.key is None for problem in problems) and len(states) == len([*filter(is_archive, names)]):
            problems += _manifest_problems(manifest, states)
    return Verification(path, names, problems)


def _read_manifest(folder: Path, alone: Optional[str]) -> tuple[Optional[Manifest], list[Problem]]:
    """The manifest and what is wrong with it; one file alone need not have any."""
    try:
        return Manifest.read(folder), []
    except ReleaseError as exc:
        if os.path.lexists(folder / MANIFEST):
            return None, [Problem(MANIFEST, None, f"proves nothing ({exc})")]
        missing = "is missing, so nothing proves that this release is whole: export again, or name its files one by one"
        return None, [] if alone else [Problem(MANIFEST, None, missing)]


def _names(folder: Path, manifest: Optional[Manifest]) -> list[str]:
    """The files to look at: those of the manifest, and others that AudioCraft would load."""
    listed = listed_by(manifest) if manifest else []
    return [*listed, *(name for name in OWN_NAMES if name not in listed and os.path.lexists(folder / name))]


def _listing_problems(manifest: Manifest, names: Sequence[str]) -> Iterator[Problem]:
    listed = [file.name for file in manifest.files]
    for name in listed:
        if name not in names:
            yield Problem(MANIFEST, None, f"names {name!r}, which is no file of a release")
    for name in names:
        if name not in listed:
            yield Problem(name, None, f"is not in {MANIFEST}, and yet would be loaded: remove it, or export again")


def _file_problems(path: Path, listed: Optional[WrittenFile], states: dict[str, Mapping[Any, Any]]) -> list[Problem]:
    """What is wrong with one file; what it holds goes to `states`."""
    if not os.path.isfile(path):
        return [Problem(path.name, None, "is no file" if os.path.lexists(path) else "is missing")]
    try:
        if not is_archive(path.name):
            Config.load(path)
            problems = []
        else:
            file = TorchFile.read(path)
            if "exported" not in file.state and "xp.sig" in file.state:
                sections = listing([*map(str, file.state)])
                return [Problem(path.name, None, f"is a training checkpoint ({sections}), and no release: export it")]
            states[path.name] = file.state
            problems = [*_key_problems(file), *_tensor_problems(file, compact=listed is not None)]
            problems = problems or list(_loading_problems(path))
    except CheckpointError as exc:
        problems = [Problem(path.name, None, f"cannot be read ({exc})")]
    if listed and not problems and not is_intact(path.parent, [listed]):
        return [Problem(path.name, None, f"has other bytes than {MANIFEST} says (sha256), although all in it is sound")]
    return problems


def _key_problems(file: TorchFile) -> Iterator[Problem]:
    name, state, shape = file.path.name, file.state, _shape(file)
    if file.strangers:
        yield Problem(name, None, f"names what no release holds: {listing(file.strangers)}")
    for key, kind in _flat(shape):
        value = _at(state, key)
        shown = ".".join(map(str, key))
        if value is None:
            yield Problem(name, shown, "is missing")
        elif not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            yield Problem(name, shown, f"is {stranger_name(value)}, not what belongs there")
        elif key[-1] == "exported" and value is not True:
            yield Problem(name, shown, "is not True")
        elif key[-1] == "xp.cfg":
            yield from _config_problems(name, shown, value)
    for other in [key for key in state if key not in shape]:
        yield Problem(name, str(other), "does not belong there")


def _config_problems(name: str, key: str, text: str) -> Iterator[Problem]:
    try:
        Config.parse(text)
    except CheckpointError as exc:
        yield Problem(name, key, f"is no configuration ({exc})")


def _shape(file: TorchFile) -> Shape:
    """The keys that belong in a file: by its name, and by what it holds if it has another."""
    name, state = file.path.name, file.state
    if name == DIFFUSION_FILE or "n_bands" in state and name not in OWN_NAMES:
        count = state.get("n_bands")
        bands = range(count if isinstance(count, int) and 0 < count < 1000 else 1)
        return {"sample_rate": (int, float), "n_bands": int, **dict.fromkeys(bands, BAND), "version": str,
                "exported": bool}
    if "pretrained" in state and name != LM_FILE:
        return REFERENCE
    return PART if "model" in state and name not in OWN_NAMES else MODEL


def _flat(shape: Shape, *path: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for key, kind in shape.items():
        if isinstance(kind, Mapping):
            yield from _flat(kind, *path, key)
        else:
            yield (*path, key), kind


def _at(state: Any, key: tuple[Any, ...]) -> Any:
    for name in key:
        state = state.get(name) if isinstance(state, dict) else None
    return state


def _tensor_problems(file: TorchFile, compact: bool) -> Iterator[Problem]:
    """What is wrong with the tensors of a file, and with its other records; in a release of ours they are `compact`."""
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
        try:
            tensor.blob.verify()
        except CheckpointError as exc:
            yield Problem(name, key, f"is damaged ({exc})")
    yield from _record_problems(file, {id(tensor.blob) for tensor in tensors.values()})


def _record_problems(file: TorchFile, used: Collection[int]) -> Iterator[Problem]:
    """What is wrong with records that are no tensor's; `used` are the identities of those that are."""
    for record in file.archive.names:
        try:
            blob = file.archive.blob(record)
            if id(blob) in used:
                continue
            blob.verify()
        except CheckpointError as exc:
            yield Problem(file.path.name, None, f"is damaged ({exc})")
        else:
            if record.startswith("data/"):
                yield Problem(file.path.name, None, f"holds bytes that no tensor has ({record})")


def _loading_problems(path: Path) -> Iterator[Problem]:
    import torch
    try:
        torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except Exception as exc:  # whatever torch says is the answer
        yield Problem(path.name, None, f"is not loaded by torch {torch.__version__} with weights_only=True "
                                       f"({type(exc).__name__}: {reason(exc)})")


def _manifest_problems(manifest: Manifest, states: Mapping[str, Mapping[Any, Any]]) -> Iterator[Problem]:
    """What the manifest says of the weights, and is not so; the compression model beside others does not count."""
    mine = {name: state for name, state in states.items() if name != CODEC_FILE} or states
    weights = Weights({name: _weights(state) for name, state in mine.items()}, "", "")
    found = {
        "tensors": len(weights.tensors),
        "parameters": weights.parameters,
        "dtypes": weights.dtypes,
        "config_sha256": next((sha256(state["xp.cfg"].encode()).hexdigest() for state in mine.values()
                               if "xp.cfg" in state), manifest.config_sha256),
    }
    for key, value in found.items():
        if value != getattr(manifest, key):
            yield Problem(MANIFEST, key, f"is {getattr(manifest, key)}, and {value} in the files")


def _weights(state: Any) -> dict[Any, Any]:
    """What of a file's content is weights: those of each band, where there are several."""
    return {key: value if key in WEIGHTS else _weights(value) for key, value in state.items()
            if key in WEIGHTS or isinstance(value, dict)}
