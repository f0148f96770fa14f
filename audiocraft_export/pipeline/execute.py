"""Execute the plan of a release; every release with a manifest is written here."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Callable, Optional

from .. import progress
from ..errors import ReleaseError, coded_warning, printable, readable_size, show_warning
from ..experiment.xp import MANIFEST
from ..formats.digest import release_digest
from ..formats.encoders import encode
from ..release.content import Content
from ..release.limits import MAX_MANIFEST_BYTES
from ..release.manifest import PROVENANCE, SIGNATURE, Manifest
from ..release.owned_files import SIGNING_FILES, OwnedFiles, matches_manifest
from ..release.provenance import with_files
from ..release.report import ExportReport
from ..sharing.share import share
from ..signing.signer import Signer
from ..storage.durable_file import WrittenFile
from ..storage.staging import remove_stale
from ..storage.writer import DEVICE, NONE, Encoder, Written, replace_files, write_release
from .plan import Plan
from .preflight import refuse_other_weights

logger = logging.getLogger(__name__)


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
        warnings = report.manifest.warnings
        if not report.written:  # those that the existing release does not have
            warnings = [each for each in prepared.manifest.warnings if each not in warnings]
        for warning in warnings:
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
    is_attested = PROVENANCE in removed  # a test result belongs to `verify=load`
    if SIGNATURE in removed and is_attested:
        text = "removed the signature and the attestations of the previous release: add sign=KEY.pem (--sign) and " \
               "attest=true (--attest) to make new ones"
    elif SIGNATURE in removed:
        text = "removed the signature of the previous release: add sign=KEY.pem (--sign) to sign this one"
    elif is_attested:
        text = "removed the attestations of the previous release: an export with attest=true (--attest) makes new ones"
    else:
        return
    logger.warning(show_warning(coded_warning("signature-removed", text), str(folder)))


def _file_of(name: str, data: bytes) -> WrittenFile:
    return WrittenFile(name, len(data), sha256(data).hexdigest())


def _up_to_date(planned: Plan) -> Optional[ExportReport]:
    """Return a report of the existing release if it is intact and equal to the planned one, else None."""
    if planned.existing is None:
        return None
    files = planned.existing.files
    progress.set_total(planned.existing.nbytes, passes=1)
    if not all(matches_manifest(planned.folder, file) for file in files):
        return None
    planned.verify_loads(planned.folder)
    manifest = planned.with_sources(planned.existing)
    if planned.options.has_digest and manifest.content_digest is None:
        manifest = _with_digest(manifest, planned.folder)
    if not os.path.lexists(planned.folder / SIGNATURE):  # a changed manifest would make the signature invalid
        _record(planned.folder, planned.existing, manifest)
    return ExportReport(planned.folder, manifest, written=False, signed=planned.signer.key is not None)


def _with_digest(manifest: Manifest, folder: Path) -> Manifest:
    return replace(manifest, content_digest=release_digest(folder, manifest))


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
