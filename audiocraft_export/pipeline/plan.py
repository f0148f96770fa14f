"""Plan a release: check that it can be written, and compare it with the existing one, without writing anything."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ..checkpoint.checkpoint import Checkpoint, open_checkpoint
from ..errors import ExportError
from ..experiment.xp import CHECKPOINT_NAME
from ..formats.encoders import encode
from ..formats.registry import release_contents, require_loader, verify_loads
from ..options import ExportOptions
from ..release.content import Content
from ..release.manifest import FORMAT, SIGNATURE, Manifest
from ..release.owned_files import OwnedFiles, refuse_training_checkpoint
from ..release.prepare import PreparedRelease
from ..release.provenance import with_source_digests
from ..release.report import DryRunReport
from ..release.status import ReleaseStatus, Wanted, is_read_back, status_before_export
from ..signing.signer import Signer
from ..storage.writer import CACHE, DEVICE, NONE, resolve_output
from ..verification.against_checkpoint import content_problems, options_of
from .preflight import check_folder, check_requirements
from .previous_scrub import refuse_dropped_scrub


@dataclass(frozen=True)
class Plan:
    """A release that passed all checks before it is written."""

    prepared: PreparedRelease
    folder: Path  # the output folder, without symlinks
    files: Mapping[str, Content]  # content by file name
    options: ExportOptions
    owned: OwnedFiles  # the files in `folder` that may be replaced
    status: ReleaseStatus  # status of the release that `folder` has now
    existing: Optional[Manifest]  # manifest of the existing release if it is kept, else None
    signer: Signer  # signs the release, if the options have a key

    @property
    def dry_run_report(self) -> DryRunReport:
        """The expected result of the plan, for a dry run."""
        sizes = {name: encode(content).nbytes for name, content in self.files.items()}
        replaced = None if self.existing else self.owned.replaced_release(self.folder)
        return DryRunReport(self.folder, self.prepared.manifest, sizes, self.existing is not None, self.status,
                            replaced, self.checkpoint, self.xp_folder)

    @property
    def checkpoint(self) -> Optional[Path]:
        """The checkpoint file of the release; None for a solver in memory and for several experiments."""
        file = self.prepared.models[0].checkpoint.file if len(self.prepared.models) == 1 else None
        return file.path.absolute() if file else None

    @property
    def xp_folder(self) -> Optional[Path]:
        """The XP folder of the release; None for several experiments."""
        return self.prepared.xp_folders[0].absolute() if len(self.prepared.xp_folders) == 1 else None

    @property
    def read_back(self) -> str:
        """How written files are compared with their content, as in `write_release`."""
        return {"none": NONE, "cache": CACHE}.get(self.options.verify, DEVICE)

    def with_sources(self, manifest: Manifest) -> Manifest:
        """Add the sha256 of the checkpoint files to a manifest, with `source_digest`.

        Raises:
            CheckpointError: if a file cannot be read, or was modified since it was opened.
        """
        if not self.options.source_digest:
            return manifest
        return with_source_digests(manifest, self.prepared.models, self.prepared.codec)

    def verify_loads(self, folder: Path) -> None:
        """Load the models of the release in a folder, with `verify=load`.

        Raises:
            ReleaseError: if a model cannot be loaded.
        """
        if self.options.verify == "load":
            verify_loads(self.options.format, folder, self.prepared.family, [*self.files])


def plan(prepared: PreparedRelease, folder: Path, options: ExportOptions) -> Plan:
    """Plan a release without writing anything.

    Weights are read only to compare them with an existing release whose manifest does not identify its checkpoint.

    Args:
        prepared: the release to write.
        folder: the output folder.
        options: how to export.

    Raises:
        ExportError: if the release cannot be written to the folder, or in the format, or a package is missing.
    """
    refuse_training_checkpoint(folder)
    folder = resolve_output(folder.absolute())
    check_requirements(options)
    if options.verify == "load":
        require_loader(options.format, prepared.family)
    files = release_contents(prepared, options)
    owned = OwnedFiles(files, prepared.manifest, prepared.xp_folders, options.force)
    signer = Signer.of(options)
    check_folder(folder, files, owned, signer, options.has_card)
    refuse_dropped_scrub(folder, options, prepared.contents)
    wanted = Wanted(prepared.manifest, files, options.metric, lambda existing: _identify(existing, prepared, folder))
    file = prepared.models[0].checkpoint.file
    status = status_before_export(folder, file.path.parent if file else folder, wanted)
    existing = status.manifest if status.is_wanted else None
    if existing is not None and not _is_kept(existing, folder, options, signer):
        existing = None
    return Plan(prepared, folder, files, options, owned, status, existing, signer)


def _is_kept(existing: Manifest, folder: Path, options: ExportOptions, signer: Signer) -> bool:
    """Return whether an export keeps a release that is up to date.

    One that was not read back, as during a training, is written again if this export reads back. So is a signed one
    whose manifest lacks a digest: adding it would make the signature invalid. A signature of files that this export has
    not written would prove nothing.
    """
    lacks_digest = options.source_digest and existing.lacks_source_digest \
        or options.has_digest and existing.content_digest is None
    return is_read_back(existing, options) and not (lacks_digest and os.path.lexists(folder / SIGNATURE)) \
        and not signer.invalid_files(folder, existing)


def _identify(existing: Manifest, prepared: PreparedRelease, folder: Path) -> Optional[Manifest]:
    """Complete a manifest that does not identify its checkpoint, if the release equals an export of the checkpoint.

    Returns:
        The completed manifest; None if the content of the release differs; the same manifest if the content cannot be
        compared, so that size and modification time decide.
    """
    if existing.is_identified or not prepared.manifest.is_identified:
        return existing
    try:
        options = options_of(existing, folder)
        own = prepared.again(options, _other_checkpoint(existing, prepared))
        contents = release_contents(own, options)
    except ExportError:  # for example, a package that the format requires is missing
        return existing
    nbytes = existing.source.get("bytes")
    if nbytes not in (None, own.manifest.source.get("bytes")) or not _holds(folder, contents):
        return None
    known = existing if existing.weights_epoch is not None else own.manifest
    names = ("sig", "sig_source", "checkpoint", "codec", "config_sha256", "bands", "family")
    return replace(existing, format=FORMAT, best=known.best, weights_epoch=known.weights_epoch,
                   **{name: getattr(own.manifest, name) for name in names})


def _holds(folder: Path, contents: Mapping[str, Content]) -> bool:
    """Return whether the files in a folder have the given contents."""
    try:
        return not any(content_problems(folder, contents, ""))
    except ExportError:  # a file is damaged
        return False


def _other_checkpoint(existing: Manifest, prepared: PreparedRelease) -> Optional[Checkpoint]:
    """Open the checkpoint that a release was made from, if it exists and is not the one to export."""
    file, name = prepared.models[0].checkpoint.file, str(existing.source.get("name"))
    if file is None or name == file.path.name or not CHECKPOINT_NAME.fullmatch(name):
        return None
    path = file.path.with_name(name)
    return open_checkpoint(path) if os.path.isfile(path) else None
