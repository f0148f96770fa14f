"""What follows a release: its model card, and its place on the Hugging Face Hub."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from .. import progress
from ..experiment.xp import MANIFEST
from ..options import ExportOptions
from ..release.prepare import PreparedRelease
from ..release.report import ExportReport
from .card.update import CardUpdate, warn_of_stale_card
from .privacy_warning import warn_of_private_values


def share(report: ExportReport, draft: PreparedRelease, options: ExportOptions) -> ExportReport:
    """Write the card of a release, and push it, as far as it is asked for.

    Args:
        report: of the release, which is there.
        draft: what it was made of.
        options: how.

    Raises:
        ReleaseError: if it cannot be done; the release stays as it is.
    """
    card = CardUpdate(report, draft, options)
    names = card.write() if options.has_card else []
    if report.written and not options.has_card:
        warn_of_stale_card(report.folder)
    if options.hub is None:
        return report
    with progress.hide():
        warn_of_private_values(draft, options)
    return replace(report, url=_push(report, [*names, MANIFEST], card, draft, options))


def _push(report: ExportReport, beside: list[str], card: CardUpdate, draft: PreparedRelease, options: ExportOptions) -> str:
    from .hub.push import push, remote_card
    later, repo = _command(report.folder, draft, options), str(options.hub)
    seen = None
    if options.has_card:
        there = remote_card(report.folder, repo, options.revision, later)
        seen = there if there is not None and card.keeps(there) else None
    names = [*(file.name for file in report.manifest.files), *beside]
    message = f"{report.manifest.name}: {report.manifest.weights} after {report.manifest.epoch} epochs"
    with progress.hide():
        return push(report.folder, names, repo, options.private, options.revision, message, later, seen)


def _command(folder: Path, draft: PreparedRelease, options: ExportOptions) -> str:
    """What pushes a release that is there."""
    sources = [str(model.checkpoint.file.path.absolute()) for model in draft.models if model.checkpoint.file]
    if not sources:  # of a living solver
        flags = [*(["--revision", options.revision] if options.revision else []), *["--private"] * options.private]
        return shlex.join(["hf", "upload", str(options.hub), str(folder), ".", *flags])
    bands = ["--bands"] if len(sources) > 1 else []
    return shlex.join(["audiocraft-export", "run", *bands, *sources, "--folder", str(folder),
                       *options.replace(checkpoint=None, verify=ExportOptions.verify).flags])
