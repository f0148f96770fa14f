"""Plan a release, and execute the plan: the one way in which every export and every conversion is written."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional

from .. import progress
from ..checkpoint.checkpoint import Checkpoint, open_checkpoint
from ..errors import ExportError, ReleaseError, printable
from ..experiment.xp import CHECKPOINT_NAME, MANIFEST
from ..formats.encoders import encode
from ..formats.registry import encode_release, verify_loads
from ..options import ExportOptions
from ..release.content import Content
from ..release.manifest import FORMAT, Manifest
from ..release.owned_files import OwnedFiles, matches_manifest
from ..release.prepare import PreparedRelease
from ..release.provenance import with_files
from ..release.report import ExportReport, Plan
from ..release.status import UP_TO_DATE, ReleaseStatus, Wanted, release_status
from ..sharing.share import share
from ..storage.durable_file import WrittenFile
from ..storage.staging import remove_stale
from ..storage.writer import check_writable, replace_files, resolve_output, write_release
from ..verification.against_checkpoint import content_problems, options_of
from .preflight import check_folder, preflight

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReleasePlan:
    """A release that can be written."""

    prepared: PreparedRelease
    folder: Path  # where it goes, without symlinks
    files: Mapping[str, Content]  # what its files hold, by name
    options: ExportOptions
    owned: OwnedFiles  # what may be replaced in `folder`
    status: ReleaseStatus  # of the release in `folder`
    existing: Optional[Manifest]  # of that release, if it stays

    @property
    def summary(self) -> Plan:
        """What executing the plan would do, for a dry run."""
        sizes = {name: encode(content).nbytes for name, content in self.files.items()}
        return Plan(self.folder, self.prepared.manifest, sizes, self.existing is not None, self.status,
                    None if self.existing else self.owned.replaced_release(self.folder))

    def check_sources(self, has_room: bool) -> None:
        """Check that it can be written, and that all that it is made of is intact; raises `ExportError`."""
        encoders = [encode(content) for content in self.files.values()]
        check_writable(self.folder, None if has_room else sum(encoder.nbytes for encoder in encoders))
        for encoder in encoders:
            encoder.check_sources()

    def verify_loads(self, folder: Path) -> None:
        """Rebuild the models of the release in a folder, if the options ask for that; raises `ReleaseError`."""
        if self.options.verify == "load":
            verify_loads(self.options.format, folder, self.prepared.family, [*self.files])


def plan(prepared: PreparedRelease, folder: Path, options: ExportOptions, *, any_options: bool = False) -> ReleasePlan:
    """Plan a release; nothing is written, and no weight is read unless a release does not identify its checkpoint.

    Args:
        any_options: whether an up-to-date release stays that was made with other options.

    Raises:
        ExportError: if it cannot be written there, in that format, with the packages that are installed.
    """
    folder = resolve_output(folder.absolute())
    files = preflight(prepared, options)
    owned = OwnedFiles(files, prepared.manifest, prepared.xp_folders, options.force)
    check_folder(folder, files, owned)
    wanted = Wanted(prepared.manifest, files, options.metric, lambda existing: _identify(existing, prepared, folder))
    file = prepared.models[0].checkpoint.file
    status = release_status(folder, file.path.parent if file else folder, wanted=wanted)
    is_other = options.checkpoint is not None and "checkpoint" in status.options
    stays = status.is_wanted or any_options and status.state == UP_TO_DATE and not is_other
    return ReleasePlan(prepared, folder, files, options, owned, status, status.manifest if stays else None)


def execute(planned: ReleasePlan) -> ExportReport:
    """Write a planned release, unless it is up to date, then its model card, and push it.

    Raises:
        ExportError: if it cannot be written or shared, or does not verify.
    """
    prepared, options = planned.prepared, planned.options
    remove_stale(OwnedFiles.owns, planned.folder.parent, planned.folder)
    name = printable(prepared.manifest.name)
    with progress.track(name, passes=1 if options.verify == "none" else 2):
        report = _up_to_date(planned) or write(planned.folder, planned.files, prepared.manifest, planned.owned,
                                               options.verify != "none", check=planned.verify_loads)
    with progress.hide():
        for warning in report.manifest.warnings if report.written else ():
            logger.warning("%s: %s", name, printable(warning))
    return share(report, prepared, options) if report.written or planned.status.is_wanted else report


def write(folder: Path, files: Mapping[str, Content], manifest: Manifest, owned: OwnedFiles, read_back: bool = True,
          *, check: Callable[[Path], None] = lambda stage: None) -> ExportReport:
    """Write files that have passed the preflight, and their manifest; a previous release survives any failure.

    Args:
        owned: what may be replaced in the folder.
        read_back: whether to compare the written files with their content.
        check: verifies the staged folder before it is moved into place.

    Raises:
        ExportError: if the release cannot be written, or does not verify.
    """
    encoders = {name: encode(content) for name, content in files.items()}

    def describe(written: list[WrittenFile]) -> Manifest:
        return with_files(manifest, written, {name: encoder.nonfinite for name, encoder in encoders.items()})

    def finish(stage: Path, written: list[WrittenFile]) -> tuple[str, bytes]:
        check(stage)
        return MANIFEST, describe(written).text.encode("utf-8")

    replaced = owned.replaced_release(folder)
    written = write_release(folder, encoders, owned, finish, read_back)
    return ExportReport(folder, describe(written), replaced=replaced)


def _up_to_date(planned: ReleasePlan) -> Optional[ExportReport]:
    """The existing release, if it is intact and what the plan would write."""
    if planned.existing is None:
        return None
    files = planned.existing.files
    progress.set_total(planned.existing.nbytes, passes=1)
    if not all(matches_manifest(planned.folder, file) for file in files):
        return None
    planned.verify_loads(planned.folder)
    _record_identity(planned.folder, planned.existing)
    return ExportReport(planned.folder, planned.existing, written=False)


def _identify(existing: Manifest, prepared: PreparedRelease, folder: Path) -> Optional[Manifest]:
    """Complete a manifest that does not identify its checkpoint, if the release has the content of an export of it.

    None if it has another content; the same manifest where that cannot be compared: size and time have to do.
    """
    if existing.is_identified or not prepared.manifest.is_identified:
        return existing
    try:
        options = options_of(existing, folder)
        own = prepared.again(options, _other_checkpoint(existing, prepared))
        contents = encode_release(own, options)
    except ExportError:  # such as a format whose packages are missing here
        return existing
    nbytes = (existing.checkpoint or {}).get("bytes")
    if nbytes not in (None, (own.manifest.checkpoint or {}).get("bytes")) or not _holds(folder, contents):
        return None
    known = existing if existing.weights_epoch is not None else own.manifest
    names = ("sig", "sig_source", "checkpoint", "codec", "config_sha256", "bands", "family")
    return replace(existing, format=FORMAT, best=known.best, weights_epoch=known.weights_epoch,
                   **{name: getattr(own.manifest, name) for name in names})


def _holds(folder: Path, contents: Mapping[str, Content]) -> bool:
    try:
        return not any(content_problems(folder, contents, ""))
    except ExportError:  # damaged
        return False


def _other_checkpoint(existing: Manifest, prepared: PreparedRelease) -> Optional[Checkpoint]:
    """The other checkpoint of the experiment that a release was made of, if it is there."""
    file, name = prepared.models[0].checkpoint.file, str((existing.checkpoint or {}).get("name"))
    if file is None or name == file.path.name or not CHECKPOINT_NAME.fullmatch(name):
        return None
    path = file.path.with_name(name)
    return open_checkpoint(path) if os.path.isfile(path) else None


def _record_identity(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a release that was compared with its checkpoint by content, so that this is done once."""
    if not manifest.is_identified or Manifest.load(folder).is_identified:
        return
    try:
        replace_files(folder, {MANIFEST: encode(manifest.text)}, OwnedFiles.owns)
    except ReleaseError as exc:
        logger.warning("the release is compared with its checkpoint again next time: %s", printable(str(exc)))
