"""Convert a release between the formats `audiocraft` and `safetensors`, without loss."""

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

from .. import progress
from ..checkpoint.checkpoint import can_open
from ..checkpoint.zip_reader import refuse_lfs_pointer
from ..errors import CheckpointError, ExportError, ReleaseError, listing, printable
from ..experiment.xp import CHECKPOINT_NAME, MANIFEST, AnyPath, Experiment, releases_in
from ..formats.decoders import CONVERTIBLE, SAFETENSORS, read_contents
from ..formats.safetensors.layout import to_safetensors
from ..options import AUDIOCRAFT, RELEASE_FOLDER, ExportOptions
from ..release.content import Content
from ..release.manifest import Manifest
from ..release.owned_files import OwnedFiles, refuse_training_checkpoint, release_file_names
from ..release.provenance import without_nonfinite_warnings
from ..release.report import ExportReport
from ..release.status import release_status
from ..sharing.card.update import warn_of_stale_card
from ..signing.signer import Signer
from ..storage.file_reader import FileReader
from ..storage.file_version import FileVersion, file_version
from ..storage.staging import remove_stale
from ..storage.writer import resolve_output
from ..verification.release import refuse_other_paths, verify
from .execute import write
from .preflight import check_folder, check_requirements
from .previous_scrub import refuse_dropped_scrub


def convert(folder: AnyPath, to: str, into: Optional[AnyPath] = None,
            max_shard_size: Union[str, int] = ExportOptions.max_shard_size, force: bool = False, *,
            sign: Optional[AnyPath] = None) -> ExportReport:
    """Convert a release to another format; the result is the same as an export in that format.

    Args:
        folder: the release folder.
        to: `audiocraft` or `safetensors`.
        into: the folder of the new release; None replaces the release in `folder`, atomically.
        max_shard_size: maximum size of a safetensors file, in bytes or as `5GB`.
        force: replace a release of another experiment in `into`.
        sign: the private key to sign the new release with, an EC key in a PEM file.

    Raises:
        ExportError: if the release is damaged or cannot be converted, or the new one cannot be written.
    """
    folder = _find_release(Path(folder), to)
    options = ExportOptions(folder=into, format=to, max_shard_size=max_shard_size, card=False, sign=sign, force=force)
    version, manifest = file_version(folder / MANIFEST), Manifest.load(folder)
    if manifest.release_format not in CONVERTIBLE or to not in CONVERTIBLE:
        raise ReleaseError("lossy-conversion", f"Cannot convert {folder} from {manifest.release_format} to {to} "
                           "without loss", f"export the experiment again, with format={to}")
    if into is not None:
        refuse_training_checkpoint(Path(into))
    target = folder if into is None else resolve_output(Path(into).absolute())
    has_same_shards = to == AUDIOCRAFT or manifest.options.get("max_shard_size") == options.max_shard_size
    check_requirements(options)
    signer = Signer(sign)
    with progress.track(printable(manifest.name)):
        files = _read_files(folder, manifest, version)
        remove_stale(OwnedFiles.owns, target.parent, target)  # not before: it may have the only copy of a damaged file
        refuse_dropped_scrub(target, options.replace(scrub=manifest.options.get("scrub")), files, can_scrub=False)
        is_same = manifest.release_format == to and target == folder and has_same_shards
        if is_same and not signer.invalid_files(folder, manifest):
            return _report_conversion(ExportReport(folder, manifest, written=False, signed=sign is not None), folder)
        recorded = {name: value for name, value in manifest.options.items() if name not in ("format", "max_shard_size")}
        if to == SAFETENSORS:
            files = to_safetensors(files, manifest, options.max_shard_size)
            recorded = {**recorded, "format": to, "max_shard_size": options.max_shard_size}
        warnings = without_nonfinite_warnings(manifest)  # `write` adds the warnings about NaN and infinity again
        made = replace(manifest, files=[], nonfinite={}, warnings=warnings, options=recorded, content_digest=None)
        owned = OwnedFiles(files, made, force=force)
        check_folder(target, files, owned, signer)
        has_digest = manifest.content_digest is not None or signer.key is not None
        report = write(target, files, made, owned, digest=has_digest, signer=signer)
    warn_of_stale_card(target)
    return _report_conversion(report, folder)


def _report_conversion(report: ExportReport, folder: Path) -> ExportReport:
    """Complete the report of a conversion: its state and, if the release `folder` is in its XP folder, its sources."""
    report, manifest = replace(report, verb="converted"), report.manifest
    xp = Experiment.from_folder(folder.parent)
    if xp.sig is None or xp.sig != manifest.sig:
        return replace(report, status=release_status(report.folder, report.folder))
    path = xp.folder / str(manifest.source.get("name"))
    return replace(report, status=release_status(report.folder, xp.folder), xp=xp.folder,
                   checkpoint=path if os.path.isfile(path) else None)


def _read_files(folder: Path, manifest: Manifest, version: Optional[FileVersion]) -> Mapping[str, Content]:
    """Verify the files of a release, and read them as content in AudioCraft's format.

    Raises:
        ExportError: if the release is damaged, or was replaced after `version` of its manifest.
    """
    contents = None
    try:
        contents = _read_verified_files(folder, manifest)
    except ExportError:
        if version == file_version(folder / MANIFEST):
            raise
    if contents is None or version != file_version(folder / MANIFEST):
        raise ReleaseError("file-changed", f"{folder} was replaced while it was read", "convert it again")
    return contents


def _read_verified_files(folder: Path, manifest: Manifest) -> Mapping[str, Content]:
    names = release_file_names(manifest)
    progress.set_total(manifest.nbytes, passes=1)
    problems = verify(folder, by_torch=False).problems
    wrong = [str(each).rstrip(".") for each in problems if each.file in (*names, MANIFEST)]
    if wrong:
        _refuse_unreadable(folder / name for name in names)
        raise ReleaseError("damaged-release", f"The files of {folder} do not match its manifest: {listing(wrong, 2)}",
                           "export the experiment again")
    return read_contents(folder, manifest)


def _find_release(folder: Path, to: str) -> Path:
    """Return a release folder without symlinks.

    Raises:
        ReleaseError: if it is something else; the hint names the release or the command that makes one.
    """
    refuse_other_paths(folder, "a release folder")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        kind = "file" if os.path.exists(folder) else "dangling symlink"
        raise ReleaseError("wrong-target", f"{folder} is a {kind}, not a release folder", _folder_hint(folder, to))
    folder = resolve_output(folder.absolute())
    if not os.path.lexists(folder / MANIFEST):
        releases = releases_in(folder)
        raise ReleaseError("wrong-target", f"{folder} is not a release folder: {MANIFEST} is missing",
                           f"give one of {listing(releases, 3)}" if releases else
                           "give a release folder, or export the experiment again")
    return folder


def _folder_hint(file: Path, to: str) -> str:
    """Return a hint that names the release folder of a file that was given instead of it."""
    found = [folder for folder in (file.parent, file.parent / RELEASE_FOLDER) if os.path.isfile(folder / MANIFEST)]
    if found:
        return f"give the release folder {found[0]}"
    if CHECKPOINT_NAME.fullmatch(file.name) and can_open(Experiment.from_folder(file.parent), file):
        return f"export it first: {shlex.join(['audiocraft-export', 'run', str(file), '--format', to])}"
    return "give a release folder"


def _refuse_unreadable(paths: Iterable[Path]) -> None:
    """Raise the error of the first file that cannot be read or is a pointer of Git LFS; ignore missing files."""
    for path in paths:
        try:
            refuse_lfs_pointer(FileReader(path, "release"))
        except CheckpointError as exc:
            if exc.code in ("read-failed", "not-a-checkpoint"):
                raise
