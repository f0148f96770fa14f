"""Plan a release, and execute the plan: the one way in which every export and every conversion is written."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Callable, Optional

from .. import progress
from ..errors import printable
from ..experiment.xp import MANIFEST
from ..formats.encoders import encode
from ..formats.registry import verify_loads
from ..options import ExportOptions
from ..release.content import Content
from ..release.manifest import Manifest
from ..release.owned_files import OwnedFiles, matches_manifest
from ..release.prepare import PreparedRelease
from ..release.provenance import with_files
from ..release.report import ExportReport, Plan
from ..sharing.share import share
from ..storage.durable_file import WrittenFile
from ..storage.file_version import same_origin
from ..storage.staging import remove_stale
from ..storage.writer import check_writable, resolve_output, write_release
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
    existing: Optional[Manifest]  # of the release in `folder`, if that has the same sources and options

    @property
    def summary(self) -> Plan:
        """What executing the plan would do, for a dry run."""
        is_there = self.existing is not None and self.existing.is_complete(self.folder)
        sizes = {name: encode(content).nbytes for name, content in self.files.items()}
        return Plan(self.folder, self.prepared.manifest, sizes, is_there,
                    None if is_there else self.owned.replaced_release(self.folder))

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


def plan(prepared: PreparedRelease, folder: Path, options: ExportOptions) -> ReleasePlan:
    """Plan a release; nothing is written, no weight is read.

    Raises:
        ExportError: if it cannot be written there, in that format, with the packages that are installed.
    """
    folder = resolve_output(folder.absolute())
    files = preflight(prepared, options)
    owned = OwnedFiles(files, prepared.manifest, prepared.xp_folders, options.force)
    check_folder(folder, files, owned)
    existing = Manifest.load_or_none(folder)
    if existing is not None and not (_has_same_sources(existing, prepared.manifest, files)
                                     and _has_same_best(existing, prepared.manifest, options)):
        existing = None
    return ReleasePlan(prepared, folder, files, options, owned, existing)


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
    return share(report, prepared, options)


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
    progress.set_total(sum(file.bytes for file in files), passes=1)
    if not all(matches_manifest(planned.folder, file) for file in files):
        return None
    planned.verify_loads(planned.folder)
    return ExportReport(planned.folder, planned.existing, written=False)


def _has_same_sources(existing: Manifest, manifest: Manifest, files: Mapping[str, Content]) -> bool:
    """Whether a release has the sources, the options and the files of a new one; never that of a living solver."""
    if manifest.checkpoint is None and manifest.bands is None:
        return False
    return same_origin(existing.fingerprint, manifest.fingerprint) \
        and [file.name for file in existing.files] == [*files] \
        and all(_has_same_text(file, files[file.name]) for file in existing.files)


def _has_same_best(existing: Manifest, manifest: Manifest, options: ExportOptions) -> bool:
    """Whether a manifest has what the option `metric` says; without that option, what it has may be known no more."""
    return options.metric is None or (
        (existing.weights_epoch, existing.best) == (manifest.weights_epoch, manifest.best)
        and {*manifest.warnings} <= {*existing.warnings})


def _has_same_text(file: WrittenFile, content: Content) -> bool:
    """Whether a file has a text that comes from elsewhere, such as a tokenizer; tensors are not read for that."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    return not isinstance(content, bytes) or file.sha256 == sha256(content).hexdigest()
