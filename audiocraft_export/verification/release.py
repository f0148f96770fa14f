"""Verify a release: manifest, bytes, keys, tensors, and loading by torch or the library of its format."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..checkpoint.checkpoint import can_open
from ..errors import CheckpointError, ReleaseError, listing, permission_hint, plural, printable, reason
from ..experiment.xp import CHECKPOINT_NAME, DORA_SIGNATURE, MANIFEST, XPS, AnyPath, Experiment, each_xp, releases_in
from ..formats.decoders import released_weights
from ..formats.registry import is_looked_for, require_loader, verify_loads
from ..formats.safetensors.file import read_safetensors
from ..formats.safetensors.layout import INDEX, expected_metadata, from_safetensors, read_json
from ..notebook import html_table
from ..options import RELEASE_FOLDER
from ..release.families.registry import CODEC_FILE, OWN_NAMES, family_by_name
from ..release.manifest import SIGNATURE, Manifest
from ..release.owned_files import folder_of, is_torch_file, model_file_names, release_file_names
from ..release.weights import Weights
from ..signing.check import signature_problems
from ..signing.keys import read_public_key
from ..storage.file_version import file_version
from .file import Contents, Problem, check_file, key_problems, without_path

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

WITHOUT_CHECKSUM = (".yaml", ".json", ".model")  # kinds of files whose content only the manifest can prove
MAX_ATTEMPTS = 10  # repetitions if the release is replaced while it is verified


@dataclass(frozen=True)
class Verification:
    """The result of verifying a release.

    Attributes:
        path: the release folder or the file.
        files: names of the checked files.
        problems: the problems; `str()` describes one, with its file and key.
        nonfinite: number of NaN and infinite values, by file and tensor.
        signed: whether the release has a valid signature; None if no key was given.
    """

    path: Path
    files: list[str]
    problems: list[Problem]
    nonfinite: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    signed: Optional[bool] = None

    @property
    def nonfinite_by_file(self) -> dict[str, int]:
        """Number of NaN and infinite values of each file that has any."""
        return {name: sum(tensors.values()) for name, tensors in self.nonfinite.items()}

    @property
    def ok(self) -> bool:
        """True if no problems were found."""
        return not self.problems

    def __str__(self) -> str:
        count = sum(self.nonfinite_by_file.values())
        values = f"; {count} values are NaN or infinite" if count else ""
        signed = " and signed with this key" if self.signed else ""
        return "; ".join(map(str, self.problems)) or printable(f"{self.path} is intact{signed}{values}")

    def _repr_html_(self) -> str:
        rows = [(problem.file, problem.key, problem.what) for problem in self.problems]
        rows += [(name, None, f"{count} NaN/inf {plural(count, 'value')}")
                 for name, count in self.nonfinite_by_file.items()]
        intact = [(name, None, "intact") for name in self.files if name not in [row[0] for row in rows]]
        return html_table(f"{self.path} {'is intact' if self.ok else 'has problems'}", [*rows, *intact],
                          ("file", "key", "result"))


def verify(path: AnyPath, *, by_torch: bool = True, key: Optional[AnyPath] = None) -> Verification:
    """Verify a release folder or one of its files.

    All bytes are read. The checks cover the manifest with its checksum, size and sha256 of every file, the CRC-32 of
    each record, keys and types, number, dtype and layout of the tensors, the number of NaN and infinite values, the
    YAML of the configuration, and that `torch.load(weights_only=True)` loads each file. Without a manifest, the sha256
    of a file cannot be checked. NaN and infinite values that the manifest lists are not a problem: see
    `Verification.nonfinite`.

    Args:
        path: a release folder, or a file of a release.
        by_torch: whether to load the files with torch; if False, torch is not imported.
        key: the public key of the signer, in a PEM file: a release without a valid signature for this key, or with
            files that are not signed, has problems.

    Returns:
        The problems that were found, and the number of NaN and infinite values.

    Raises:
        ReleaseError: if `path` does not exist, or is an XP folder, a Dora folder or a signature; with `key`, if the key
            cannot be read, or `path` is a file; for a safetensors file, if the package safetensors is missing.
    """
    path = Path(path)
    refuse_other_paths(path)
    _refuse_checkpoint(path)
    _refuse_signature(path)
    folder = folder_of(path)
    alone = None if os.path.isdir(path) else path.name
    public = None if key is None else _read_key(key, path)
    for _ in range(MAX_ATTEMPTS):
        before = file_version(folder / MANIFEST)
        found = _check_release(path, folder, alone, Contents(by_torch=by_torch))
        if public is not None:
            found = _check_signature(found, public)
        if before == file_version(folder / MANIFEST):
            return found
    unread = Problem(MANIFEST, None, "replaced each time while the release was verified: try again")
    return replace(found, problems=[*found.problems, unread], signed=None if key is None else False)


def experiment_problems(path: Path) -> Iterator[Problem]:
    """Check that the release in the folder of an experiment, `xps/SIG/export`, is of this experiment.

    Args:
        path: an intact release, or a file of one; in any other folder, also a renamed one, it may be of any experiment.
    """
    folder = folder_of(path.absolute())
    manifest, xp = Manifest.load_or_none(folder), Experiment.from_folder(folder.parent)
    is_stored = DORA_SIGNATURE.fullmatch(xp.folder.name) and xp.folder.parent.name == XPS and xp.argv is not None
    if is_stored and folder.name == RELEASE_FOLDER and manifest and manifest.sig not in (None, xp.folder.name):
        yield Problem(MANIFEST, "sig", f"{manifest.sig} in the manifest, but the folder is that of {xp.folder.name}")


def refuse_other_paths(path: Path, expected: str = "a release folder or a file of a release") -> None:
    """Refuse a path that is neither a release folder nor a file in a release folder.

    Args:
        path: the path.
        expected: what to give, for the hint.

    Raises:
        ReleaseError: if `path` does not exist or cannot be accessed, or is an XP folder or a Dora folder.
    """
    try:
        os.lstat(path / MANIFEST)
        return
    except PermissionError as exc:
        raise ReleaseError("read-failed", f"Cannot read {path}: {reason(exc)}", permission_hint(exc)) from exc
    except (OSError, ValueError):
        pass
    if not os.path.lexists(path) and not os.path.isfile(path.parent / MANIFEST):
        example = "" if path.parent.name else ", such as outputs/xps/SIG/export"
        raise ReleaseError("path-not-found", f"No such file or folder: {path}", f"give {expected}{example}")
    if os.path.isfile(path / RELEASE_FOLDER / MANIFEST):
        raise ReleaseError("wrong-target", f"{path} is an experiment folder, not a release",
                           f"give its release {path / RELEASE_FOLDER}")
    if os.path.isdir(path) and not _own_names(path):
        _refuse_folder_without_release(path)


def _refuse_checkpoint(path: Path) -> None:
    """Refuse a training checkpoint, by its name."""
    if os.path.isfile(path) and CHECKPOINT_NAME.fullmatch(path.name):
        raise ReleaseError("wrong-target", f"{path} is a training checkpoint, not a release",
                           _export_hint(path, Experiment.from_folder(path.parent), path))


def _refuse_signature(path: Path) -> None:
    """Refuse the signature of a release, which is checked only together with all files that it signs."""
    if path.name == SIGNATURE and os.path.isfile(path):
        raise ReleaseError("wrong-target", f"{path} is the signature of a release, and is not checked alone",
                           f"verify the folder with the public key: "
                           f"{shlex.join(['audiocraft-export', 'verify', str(folder_of(path)), '--key'])} PUBLIC.pem")


def _refuse_folder_without_release(path: Path) -> None:
    """Refuse an XP folder without a release, and a Dora folder; `path` is a folder without files of a release."""
    xp = Experiment.from_folder(path)
    if xp.checkpoints:
        raise ReleaseError("wrong-target", f"{path} is an experiment folder, and has no release",
                           _export_hint(path, xp, xp.checkpoint_path()))
    home = path.absolute().parent if path.absolute().name == XPS else path
    if os.path.isdir(home / XPS):
        folders = [str(xp.folder / RELEASE_FOLDER) for xp in each_xp(home)]
        found = [folder for folder in folders if os.path.isfile(os.path.join(folder, MANIFEST))]
        raise ReleaseError("wrong-target", f"{path} is a Dora folder, not a release",
                           f"give the release of an experiment: {listing(found, 3)}" if found else "")
    if releases := releases_in(path):
        raise ReleaseError("wrong-target", f"{path} has releases in its subfolders, but none itself",
                           f"give their folders: {listing(releases, 3)}")


def _export_hint(path: Path, xp: Experiment, checkpoint: Path) -> str:
    """Return the hint to export a path; empty if its checkpoint cannot be exported."""
    command = shlex.join(["audiocraft-export", "run", str(path)])
    return f"export it first: {command}" if can_open(xp, checkpoint) else ""


def check_rebuild(folder: Path) -> list[Problem]:
    """Build the model of a release with the library of its format.

    Returns:
        A problem if the library cannot build the model; otherwise an empty list.

    Raises:
        ReleaseError: if `folder` is not a folder with a valid manifest, or the library is not installed.
    """
    if not os.path.isdir(folder):
        raise ReleaseError("wrong-target", f"--load needs a release folder, and {folder} is a file", "give its folder")
    manifest = Manifest.load(folder)
    family, names = family_by_name(manifest.family or manifest.solver), [file.name for file in manifest.model_files]
    require_loader(manifest.release_format, family)
    try:
        verify_loads(manifest.release_format, folder, family, names)
    except (CheckpointError, ReleaseError) as exc:
        return [Problem(names[0], None, f"cannot load the model ({exc.message})")]
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
            if not wrong and name not in listed and (folder / name).suffix in WITHOUT_CHECKSUM:
                wrong = [Problem(name, None, f"cannot be verified: no {MANIFEST} lists it")]
            if manifest and name in listed and not wrong:
                wrong += [*_metadata_problems(folder / name, manifest), *_nonfinite_problems(name, manifest, contents)]
            problems += wrong
    if manifest and not alone:
        if manifest.release_format == "safetensors" and not problems:
            problems += _unflatten_problems(folder, model_file_names(manifest), states)
        all_read = bool(states) and len(states) >= sum(map(is_torch_file, names)) \
            and all(problem.key is None for problem in problems)
        if manifest.release_format != "transformers" and all_read:
            problems += _count_problems(manifest, states)
    if manifest:
        problems += _listing_problems(folder, manifest, alone)
    return Verification(path, names, problems, contents.nonfinite)


def _read_key(key: AnyPath, path: Path) -> "EllipticCurvePublicKey":
    if not os.path.isdir(path):
        raise ReleaseError("wrong-target", f"A signature is of a release folder, and {path} is a file",
                           "give its folder")
    return read_public_key(key)


def _check_signature(found: Verification, key: "EllipticCurvePublicKey") -> Verification:
    """Add the problems of the signature to a verification, which has compared the files with the manifest."""
    manifest = Manifest.load_or_none(found.path)
    if manifest is None:
        return replace(found, signed=False)
    wrong = {problem.file for problem in found.problems}
    known = {file.name: file.sha256 for file in manifest.files if file.name in found.files and file.name not in wrong}
    problems = [Problem(name, None, what) for name, what in signature_problems(found.path, manifest, key, known)]
    return replace(found, files=[*found.files, SIGNATURE], problems=[*found.problems, *problems],
                   signed=not found.problems and not problems)


def _unflatten_problems(folder: Path, names: Sequence[str], states: dict[str, Mapping[Any, Any]]) -> Iterator[Problem]:
    """Check the .safetensors files of a release together; `states` receives the equivalent files of torch.save."""
    try:
        contents = from_safetensors(folder, names)
    except CheckpointError as exc:
        yield Problem(MANIFEST, None, f"the listed files do not fit together ({exc.message})")
        return
    for name, content in contents.items():
        if isinstance(content, dict):
            states[name] = content
            yield from key_problems(name, content)


def _read_manifest(folder: Path, alone: Optional[str]) -> tuple[Optional[Manifest], list[Problem]]:
    """Read the manifest and return it with its problems; the manifest of a single file is optional."""
    try:
        return Manifest.load(folder), []
    except ReleaseError as exc:
        if os.path.lexists(folder / MANIFEST):
            is_unread, why = exc.code == "read-failed", without_path(exc.message, folder / MANIFEST)
            return None, [Problem(MANIFEST, None, why if is_unread else f"invalid manifest ({why})")]
        missing = "missing: cannot verify that the release is complete; export it again or verify single files"
        return None, [] if alone else [Problem(MANIFEST, None, missing)]


def _own_names(folder: Path) -> list[str]:
    """Return the names of the release files in a folder without a manifest."""
    return [name for name in OWN_NAMES if os.path.lexists(folder / name)]


def _listing_problems(folder: Path, manifest: Manifest, alone: Optional[str]) -> Iterator[Problem]:
    """Check for listed files with invalid names, and for unlisted files that a loader would read."""
    listed, names = [file.name for file in manifest.files], release_file_names(manifest)
    for name in dict.fromkeys([*listed, *manifest.nonfinite]) if alone is None else []:
        if name not in names:
            yield Problem(MANIFEST, None, f"lists {name!r}, which is not the name of a release file")
    try:
        present = sorted(os.listdir(folder)) if alone is None else [alone]
    except OSError as exc:
        yield Problem(MANIFEST, None, f"cannot list the folder ({reason(exc)}): it may have unexpected files")
        return
    for name in present:
        is_unlisted = name not in listed and os.path.lexists(folder / name)
        if is_unlisted and is_looked_for(manifest.release_format, name, manifest.sig):
            what = f"not listed in {MANIFEST}, but a loader would read it: move it"
            yield Problem(name, None, what)


def _metadata_problems(path: Path, manifest: Manifest) -> Iterator[Problem]:
    """Check the metadata of a .safetensors file or a shard index against the manifest."""
    metadata: Any
    if path.suffix == ".safetensors":
        metadata = read_safetensors(path).metadata
    elif path.name.endswith(INDEX):
        index = read_json(path)
        metadata, shards = index.get("metadata"), index.get("weight_map")
        listed = [file.name for file in manifest.files]
        others = [str(name) for name in shards.values() if name not in listed] if isinstance(shards, dict) else ["?"]
        if others:
            yield Problem(path.name, None, f"lists files that are not in {MANIFEST} ({listing(others)})")
    else:
        return
    for key, expected in expected_metadata(path.name, manifest).items():
        found = metadata.get(key) if isinstance(metadata, dict) else None
        if found != expected:
            yield Problem(path.name, key, f"{found!r} in the metadata, {expected!r} in {MANIFEST}")


def _nonfinite_problems(name: str, manifest: Manifest, contents: Contents) -> Iterator[Problem]:
    """Check the number of NaN and infinite values of a file against the manifest."""
    said, found = manifest.nonfinite.get(name, {}), contents.nonfinite.get(name, {})
    for tensor in {**said, **found}:
        if said.get(tensor, 0) != found.get(tensor, 0):
            yield Problem(MANIFEST, "nonfinite", f"{said.get(tensor, 0)} for {tensor} of {name}, which has "
                                                 f"{found.get(tensor, 0)} NaN or infinite values")


def _count_problems(manifest: Manifest, states: Mapping[str, Mapping[Any, Any]]) -> Iterator[Problem]:
    """Check the statistics of the weights in the manifest, which exclude an included compression model."""
    mine = {name: state for name, state in states.items() if name != CODEC_FILE} or states
    weights = Weights({name: released_weights(state) for name, state in mine.items()}, "", "")
    configs = [state["xp.cfg"] for state in mine.values() if "xp.cfg" in state]
    found = {"tensors": len(weights.tensors), "parameters": weights.parameters, "dtypes": weights.dtypes}
    if configs:
        found["config_sha256"] = sha256(configs[0].encode()).hexdigest()
    for key, value in found.items():
        if value != getattr(manifest, key):
            yield Problem(MANIFEST, key, f"{getattr(manifest, key)} in the manifest, {value} in the files")
