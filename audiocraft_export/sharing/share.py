"""Write the model card of a release and push it to the Hugging Face Hub."""

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Optional

from .. import progress
from ..errors import ReleaseError
from ..experiment.xp import MANIFEST
from ..options import ExportOptions
from ..release.manifest import SIGNATURE
from ..release.prepare import PreparedRelease
from ..release.report import ExportReport
from .card.update import CardUpdate, warn_of_stale_card, warn_of_stale_remote_card
from .privacy_warning import warn_of_private_values


def share(report: ExportReport, prepared: PreparedRelease, options: ExportOptions) -> ExportReport:
    """Write the model card of a release and push it, if the options ask for it.

    Returns:
        The report, with the URL on the Hub after a push.

    Raises:
        ReleaseError: if the card cannot be written or the push fails; the release on disk stays valid.
    """
    card = _write_card(report, prepared, options) if options.has_card else None
    if card is None and report.written:
        warn_of_stale_card(report.folder)
    if options.hub is None:
        return report
    with progress.hide():
        warn_of_private_values(prepared, options)
        return replace(report, url=_push(report, card, _push_command(report.folder, prepared, options), options))


def _write_card(report: ExportReport, prepared: PreparedRelease, options: ExportOptions) -> CardUpdate:
    try:
        card = CardUpdate.of(report, prepared, options)
        card.write()
    except ReleaseError as exc:
        raise ReleaseError(exc.code, f"The release in {report.folder} is complete, but its model card is not written: "
                           f"{exc.message}", exc.hint) from exc
    return card


def _push(report: ExportReport, card: Optional[CardUpdate], later: str, options: ExportOptions) -> str:
    """Push a release, including edits of the card on the Hub, and return its URL."""
    from .hub.push import Destination, push, remote_card
    to = Destination(report.folder, str(options.hub), later, options.private, options.revision)
    remote = remote_card(to)
    if card is None and remote is not None:
        warn_of_stale_remote_card(remote, report)
    merged = remote if card and remote is not None and card.merge_remote(remote) else None
    signature = [SIGNATURE] if os.path.lexists(report.folder / SIGNATURE) else []
    names = [*(file.name for file in report.manifest.files), *(card.names if card else []), MANIFEST, *signature]
    message = f"{report.manifest.name}: {report.manifest.weights_text}"
    return push(to, names, message, merged)


def _push_command(folder: Path, prepared: PreparedRelease, options: ExportOptions) -> str:
    """Return the command that pushes a release that is complete on disk."""
    sources = [str(model.checkpoint.file.path.absolute()) for model in prepared.models if model.checkpoint.file]
    verify = "none" if options.verify == "none" else ExportOptions.verify  # a stricter check would write it again
    words = ["audiocraft-export", "run", *sources, "--folder", str(folder),
             *options.replace(checkpoint=None, verify=verify, force=False).flags]
    if len(sources) > 1:
        words.insert(2, "--bands")
    if not sources:  # the state of a solver in memory
        words = ["hf", "upload", str(options.hub), str(folder), "."]
        words += ["--revision", options.revision] if options.revision else []
        words += ["--private"] if options.private else []
    return shlex.join(words)
