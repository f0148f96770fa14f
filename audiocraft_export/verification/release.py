"""Verify a release: its manifest, its bytes, its keys, its tensors, and that torch or its own library loads it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional

from ..errors import CheckpointError, ReleaseError, listing, printable, reason
from ..experiment.xp import MANIFEST, AnyPath
from ..formats.registry import is_looked_for
from ..formats.safetensors.file import read_safetensors
from ..formats.safetensors.layout import INDEX, expected_metadata, from_safetensors, read_json
from ..options import RELEASE_FOLDER
from ..release.families.registry import CODEC_FILE, OWN_NAMES, family_named
from ..release.manifest import Manifest
from ..release.owned_files import is_torch_file, release_file_names
from ..release.weights import Weights
from ..storage.file_version import file_version
from .file import Contents, Problem, check_file, key_problems

MAX_ATTEMPTS = 10  # for a release that is replaced again and again while it is verified
WEIGHTS = ("best_state", "model", "model_state")


@dataclass(frozen=True)
class Verification:
    """The result of verifying a release."""

    path: Path  # the folder, or the file
    files: list[str]  # the names of those that were checked
    problems: list[Problem]
    nonfinite: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # NaN and Inf by file and tensor, if any

    @property
    def nonfinite_by_file(self) -> dict[str, int]:
        """Number of NaN and infinite values by file, if it has any."""
        return {name: sum(tensors.values()) for name, tensors in self.nonfinite.items()}

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        count = sum(self.nonfinite_by_file.values())
        values = f"; {count} values in it are NaN or infinite" if count else ""
        return "; ".join(map(str, self.problems)) or printable(f"{self.path} is what it says it is{values}.")


def verify(path: AnyPath, *, by_torch: bool = True) -> Verification:
    """Verify a release folder or one of its files, reading all of it.

    Checked are the manifest (with its own checksum), the sha256 and the size of every file, the CRC-32 of each record,
    the keys and the types of their values, the number, dtype and layout of the tensors, how many values are NaN or
    infinite, the configuration as YAML, and that `torch.load(weights_only=True)` accepts each file; of one without a
    manifest, all but its sha256. NaN is no problem where the manifest says so: `Verification.nonfinite` counts it.

    Args:
        by_torch: whether the torch that is installed must accept the files; without it, torch is not imported.

    Raises:
        ReleaseError: if there is nothing at `path`.
    """
    path = Path(path)
    refuse_other_paths(path)
    folder, alone = (path, None) if os.path.isdir(path) else (path.parent, path.name)
    for _ in range(MAX_ATTEMPTS):
        before = file_version(folder / MANIFEST)
        found = _check_release(path, folder, alone, Contents(by_torch=by_torch))
        if found.ok or before == file_version(folder / MANIFEST):
            break
    return found


def refuse_other_paths(path: Path) -> None:
    """Refuse what is neither a release folder nor a file of one.

    Raises:
        ReleaseError: if there is nothing at `path`, or an experiment with a release.
    """
    if not os.path.lexists(path) and not os.path.isfile(path.parent / MANIFEST):
        raise ReleaseError(f"There is no file or folder {path}: name a release folder, or a file of one.")
    if not os.path.lexists(path / MANIFEST) and os.path.isfile(path / RELEASE_FOLDER / MANIFEST):
        raise ReleaseError(f"{path} is the folder of an experiment: its release is {path / RELEASE_FOLDER}.")


def check_rebuild(folder: Path) -> list[Problem]:
    """What is wrong with a release that the library that it is for cannot rebuild; empty if it can.

    Raises:
        ReleaseError: if it is no folder with a manifest, or the library is not installed.
    """
    from ..formats.registry import require_loader, verify_loads
    if not os.path.isdir(folder):
        raise ReleaseError(f"--load rebuilds what a whole release folder holds, and {folder} is a file: name its "
                           "folder.")
    manifest = Manifest.load(folder)
    family, names = family_named(manifest.family or manifest.solver), [file.name for file in manifest.files]
    require_loader(manifest.release_format, family)
    try:
        verify_loads(manifest.release_format, folder, family, names)
    except ReleaseError as exc:
        return [Problem(names[0], None, f"is not rebuilt ({reason(exc)})")]
    return []


def _check_release(path: Path, folder: Path, alone: Optional[str], contents: Contents) -> Verification:
    """Verify a release folder, or the file `alone` in it."""
    manifest, problems = _read_manifest(folder, alone)
    listed = {file.name: file for file in manifest.files} if manifest else {}
    names = [alone] if alone else release_file_names(manifest) if manifest else _own_names(folder)
    states = contents.states
    for name in names:
        if name != MANIFEST:
            wrong = check_file(folder / name, listed.get(name), contents)
            if manifest and name in listed and not wrong:
                wrong += [*_metadata_problems(folder / name, manifest), *_nonfinite_problems(name, manifest, contents)]
            problems += wrong
    if manifest and not alone:
        if manifest.release_format == "safetensors" and not problems:
            problems += _unflatten_problems(folder, names, states)
        all_read = len(states) >= sum(map(is_torch_file, names)) and all(problem.key is None for problem in problems)
        if manifest.release_format != "transformers" and all_read:
            problems += _count_problems(manifest, states)
    if manifest:
        problems += _listing_problems(folder, manifest, alone)
    return Verification(path, names, problems, contents.nonfinite)


def _unflatten_problems(folder: Path, names: Sequence[str], states: dict[str, Mapping[Any, Any]]) -> Iterator[Problem]:
    """The problems of files of safetensors as one release; `states` gets the files of torch that they stand for."""
    try:
        contents = from_safetensors(folder, names)
    except CheckpointError as exc:
        yield Problem(MANIFEST, None, f"names files that do not belong together ({exc})")
        return
    for name, content in contents.items():
        if isinstance(content, dict):
            states[name] = content
            yield from key_problems(name, content)


def _read_manifest(folder: Path, alone: Optional[str]) -> tuple[Optional[Manifest], list[Problem]]:
    """The manifest and its problems; a file alone need not have one."""
    try:
        return Manifest.load(folder), []
    except ReleaseError as exc:
        if os.path.lexists(folder / MANIFEST):
            return None, [Problem(MANIFEST, None, f"proves nothing ({exc})")]
        missing = "is missing, so nothing proves that this release is whole: export again, or name its files one by one"
        return None, [] if alone else [Problem(MANIFEST, None, missing)]


def _own_names(folder: Path) -> list[str]:
    return [name for name in OWN_NAMES if os.path.lexists(folder / name)]


def _listing_problems(folder: Path, manifest: Manifest, alone: Optional[str]) -> Iterator[Problem]:
    """Files that the manifest lists and no release has, and files that it does not list and a loader looks for."""
    listed, names = [file.name for file in manifest.files], release_file_names(manifest)
    for name in dict.fromkeys([*listed, *manifest.nonfinite]) if alone is None else []:
        if name not in names:
            yield Problem(MANIFEST, None, f"names {name!r}, which is no file of a release")
    try:
        present = sorted(os.listdir(folder)) if alone is None else [alone]
    except OSError as exc:
        yield Problem(MANIFEST, None, f"is in a folder that cannot be read ({reason(exc)}): other files may be in it")
        return
    for name in present:
        if name not in listed and is_looked_for(manifest.release_format, name, manifest.sig):
            yield Problem(name, None, f"is not in {MANIFEST}, and yet would be loaded: remove it, or export again")


def _metadata_problems(path: Path, manifest: Manifest) -> Iterator[Problem]:
    """What a file of safetensors, or the index of several, says of the release and the manifest does not."""
    metadata: Any
    if path.suffix == ".safetensors":
        metadata = read_safetensors(path).metadata
    elif path.name.endswith(INDEX):
        index = read_json(path)
        metadata, shards = index.get("metadata"), index.get("weight_map")
        listed = [file.name for file in manifest.files]
        others = [str(name) for name in shards.values() if name not in listed] if isinstance(shards, dict) else ["?"]
        if others:
            yield Problem(path.name, None, f"names files that are not in {MANIFEST} ({listing(others)})")
    else:
        return
    for key, expected in expected_metadata(path.name, manifest).items():
        found = metadata.get(key) if isinstance(metadata, dict) else None
        if found != expected:
            yield Problem(path.name, key, f"is {found!r} in its metadata, and {expected!r} by {MANIFEST}")


def _nonfinite_problems(name: str, manifest: Manifest, contents: Contents) -> Iterator[Problem]:
    """Where the manifest counts other NaN and infinite values than there are in a file."""
    said, found = manifest.nonfinite.get(name, {}), contents.nonfinite.get(name, {})
    for tensor in {**said, **found}:
        if said.get(tensor, 0) != found.get(tensor, 0):
            yield Problem(MANIFEST, "nonfinite", f"is {said.get(tensor, 0)} for {tensor} of {name}, which has "
                                                 f"{found.get(tensor, 0)} NaN or infinite values")


def _count_problems(manifest: Manifest, states: Mapping[str, Mapping[Any, Any]]) -> Iterator[Problem]:
    """What the manifest says of the weights and is wrong; it does not count the compression model beside others."""
    mine = {name: state for name, state in states.items() if name != CODEC_FILE} or states
    weights = Weights({name: _select_weights(state) for name, state in mine.items()}, "", "")
    configs = [state["xp.cfg"] for state in mine.values() if "xp.cfg" in state]
    found = {"tensors": len(weights.tensors), "parameters": weights.parameters, "dtypes": weights.dtypes}
    if configs:
        found["config_sha256"] = sha256(configs[0].encode()).hexdigest()
    for key, value in found.items():
        if value != getattr(manifest, key):
            yield Problem(MANIFEST, key, f"is {getattr(manifest, key)}, and {value} in the files")


def _select_weights(state: Any) -> dict[Any, Any]:
    """The weights in the content of a file: those of each band, if there are several."""
    return {key: value if key in WEIGHTS else _select_weights(value) for key, value in state.items()
            if key in WEIGHTS or isinstance(value, dict)}
