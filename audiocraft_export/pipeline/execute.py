"""Plan a release and execute the plan; every release with a manifest is written here."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Callable, Optional

from .. import progress
from ..checkpoint.checkpoint import Checkpoint, open_checkpoint
from ..errors import ExportError, ReleaseError, coded_warning, printable, readable_size, show_warning
from ..experiment.xp import CHECKPOINT_NAME, MANIFEST
from ..formats.digest import release_digest
from ..formats.encoders import encode
from ..formats.registry import release_contents, verify_loads
from ..options import ExportOptions
from ..release.content import Content
from ..release.limits import MAX_MANIFEST_BYTES
from ..release.manifest import FORMAT, PROVENANCE, SIGNATURE, Manifest
from ..release.owned_files import SIGNING_FILES, OwnedFiles, matches_manifest, refuse_training_checkpoint
from ..release.prepare import PreparedRelease
from ..release.provenance import with_files, with_source_digests
from ..release.report import DryRunReport, ExportReport
from ..release.status import ReleaseStatus, Wanted, release_status
from ..sharing.share import share
from ..signing.signer import Signer
from ..storage.durable_file import WrittenFile
from ..storage.staging import remove_stale
from ..storage.writer import (
    CACHE,
    DEVICE,
    NONE,
    Encoder,
    Written,
    check_writable,
    replace_files,
    resolve_output,
    write_release,
)
from ..verification.against_checkpoint import content_problems, options_of
from .preflight import check_folder, preflight, refuse_other_weights
from .previous_scrub import refuse_dropped_scrub

logger = logging.getLogger(__name__)


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

    @property
    def signer(self) -> Signer:
        """Signs the release, if the options have a key."""
        return Signer.of(self.options)

    @property
    def summary(self) -> DryRunReport:
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

    def check_sources(self, check_space: bool) -> None:
        """Check that the release can be written and that the data it is made from is intact.

        Args:
            check_space: whether to check the free disk space.

        Raises:
            ExportError: if a check fails.
        """
        encoders = [encode(content) for content in self.files.values()]
        check_writable(self.folder, sum(encoder.nbytes for encoder in encoders) if check_space else None)
        for encoder in encoders:
            encoder.check_sources()

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
    refuse_dropped_scrub(folder, options)
    files = preflight(prepared, options)
    owned = OwnedFiles(files, prepared.manifest, prepared.xp_folders, options.force)
    signer = Signer.of(options)
    check_folder(folder, files, owned, signer, options.has_card)
    wanted = Wanted(prepared.manifest, files, options.metric, lambda existing: _identify(existing, prepared, folder))
    file = prepared.models[0].checkpoint.file
    status = release_status(folder, file.path.parent if file else folder, wanted=wanted)
    existing = status.manifest if status.is_wanted else None
    if existing is not None and signer.invalid_files(folder, existing):
        existing = None  # a signature of files that this export has not written would prove nothing
    return Plan(prepared, folder, files, options, owned, status, existing)


def execute(planned: Plan) -> ExportReport:
    """Write a planned release unless it is up to date, write its model card, and push it, as the options say.

    Raises:
        ExportError: if the release cannot be written or pushed, or does not verify.
    """
    prepared, options = planned.prepared, planned.options
    remove_stale(OwnedFiles.owns, planned.folder.parent, planned.folder)
    name = printable(prepared.manifest.name)
    with progress.track(name, passes=1 if planned.read_back == NONE else 2):
        report = _up_to_date(planned) or _write(planned)
    report = replace(report, checkpoint=planned.checkpoint, xp=planned.xp_folder)
    with progress.hide():
        for warning in report.manifest.warnings if report.written else ():
            logger.warning(show_warning(warning, name))
    return share(report, prepared, options)


def _write(planned: Plan) -> ExportReport:
    manifest = planned.with_sources(planned.prepared.manifest)
    return write(planned.folder, planned.files, manifest, planned.owned, planned.read_back,
                 check=planned.verify_loads, digest=planned.options.has_digest, signer=planned.signer)


def write(folder: Path, files: Mapping[str, Content], manifest: Manifest, owned: OwnedFiles, read_back: str = DEVICE,
          *, check: Callable[[Path], None] = lambda stage: None, digest: bool = False,
          signer: Signer = Signer()) -> ExportReport:
    """Write files that have passed the preflight, and their manifest; a previous release survives any failure.

    Args:
        folder: the output folder.
        files: content by file name.
        manifest: the manifest, without the files.
        owned: the files in the folder that may be replaced.
        read_back: how to compare the written files with their content, as in `write_release`.
        check: verifies the staging folder before it is moved into place.
        digest: whether the manifest gets a content digest, of the written files.
        signer: makes the attestations and the signature.

    Raises:
        ExportError: if the release cannot be written, or does not verify.
    """
    encoders = {name: encode(content) for name, content in files.items()}
    made: list[Manifest] = []

    def finish(stage: Path, written: Written) -> dict[str, Encoder]:
        check(stage)
        # A changed file of the previous release stays, because it may be of the user.
        refuse_other_weights(folder, manifest.release_format, manifest.sig,
                             lambda: {*files, *owned.stale_files(folder)})
        nonfinite = {name: encoder.nonfinite for name, encoder in encoders.items()}
        complete = replace(with_files(manifest, written.files, nonfinite), read_back=written.read_back)
        complete = _with_digest(complete, stage) if digest else complete
        attested = signer.attest(complete)
        attestations = [_file_of(name, data) for name, data in attested.items()]
        made.append(replace(complete, files=[*complete.files, *attestations]))
        text = made[0].text.encode("utf-8")
        if len(text) > MAX_MANIFEST_BYTES:
            raise ReleaseError("limit-exceeded", f"The manifest would be {readable_size(len(text))}; the limit is "
                               f"{readable_size(MAX_MANIFEST_BYTES)}", "use shorter names of tensors with NaN or Inf")
        last = {**attested, MANIFEST: text, **signer.sign(made[0], text)}
        return {name: encode(data) for name, data in last.items()}

    replaced, before = owned.replaced_release(folder), _signing_files(folder)
    write_release(folder, encoders, owned, finish, read_back)
    _warn_of_removed_signing(folder, before - _signing_files(folder))
    return ExportReport(folder, made[0], replaced=replaced, signed=signer.key is not None)


def _signing_files(folder: Path) -> set[str]:
    return {name for name in SIGNING_FILES if os.path.lexists(folder / name)}


def _warn_of_removed_signing(folder: Path, removed: set[str]) -> None:
    """Log a warning if a release has lost its signature or its attestations."""
    if SIGNATURE in removed:
        text = "removed the signature of the previous release: add sign=KEY.pem (--sign) to sign this one"
    elif PROVENANCE in removed:  # a test result belongs to `verify=load`
        text = "removed the attestations of the previous release: an export with attest=true (--attest) makes new ones"
    else:
        return
    logger.warning(show_warning(coded_warning("signature-removed", text), str(folder)))


def _file_of(name: str, data: bytes) -> WrittenFile:
    return WrittenFile(name, len(data), sha256(data).hexdigest())


def _up_to_date(planned: Plan) -> Optional[ExportReport]:
    """Return a report of the existing release if it is intact and equal to the planned one, else None.

    A release that was not read back, as during a training, is written again if this export is to be read back.
    """
    if planned.existing is None or planned.existing.read_back == NONE and planned.read_back != NONE:
        return None
    files = planned.existing.files
    progress.set_total(planned.existing.nbytes, passes=1)
    if not all(matches_manifest(planned.folder, file) for file in files):
        return None
    planned.verify_loads(planned.folder)
    manifest = planned.with_sources(planned.existing)
    if planned.options.has_digest and manifest.content_digest is None:
        manifest = _with_digest(manifest, planned.folder)
    if not os.path.lexists(planned.folder / SIGNATURE):
        _record(planned.folder, planned.existing, manifest)
    elif manifest != planned.existing:
        return None  # a changed manifest would make the signature invalid
    return ExportReport(planned.folder, manifest, written=False, signed=planned.signer.key is not None)


def _with_digest(manifest: Manifest, folder: Path) -> Manifest:
    return replace(manifest, content_digest=release_digest(folder, manifest))


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
    nbytes = (existing.checkpoint or {}).get("bytes")
    if nbytes not in (None, (own.manifest.checkpoint or {}).get("bytes")) or not _holds(folder, contents):
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
    file, name = prepared.models[0].checkpoint.file, str((existing.checkpoint or {}).get("name"))
    if file is None or name == file.path.name or not CHECKPOINT_NAME.fullmatch(name):
        return None
    path = file.path.with_name(name)
    return open_checkpoint(path) if os.path.isfile(path) else None


def _record(folder: Path, existing: Manifest, manifest: Manifest) -> None:
    """Store the completed manifest of a release, unless it was complete already.

    With the identity of its checkpoint, the content of the release is compared with the checkpoint only once.
    """
    is_new = manifest.is_identified and not Manifest.load(folder).is_identified
    if not is_new and manifest == existing:
        return
    try:
        replace_files(folder, {MANIFEST: encode(manifest.text)}, OwnedFiles.owns)
    except ReleaseError as exc:
        if manifest != existing:  # the digests were asked for
            raise
        text = "the manifest was not updated, so the release is compared with its checkpoint again next time"
        logger.warning(show_warning(coded_warning("manifest-not-updated", f"{text}: {exc.message}"), str(folder)))
