"""What follows a release: its model card, and its place on the Hugging Face Hub."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from .. import progress
from ..errors import ReleaseError, printable, reason
from ..experiment.config import Config
from ..experiment.privacy.exposure import find_private_values
from ..experiment.privacy.key_patterns import PUBLIC
from ..formats.registry import FORMATS
from ..formats.requirements import require_packages
from ..options import ExportOptions
from ..release.manifest import MANIFEST, ExportReport
from ..release.prepare import PreparedRelease
from ..storage import writer

logger = logging.getLogger(__name__)
CARD = "README.md"
MARK = "<!-- audiocraft-export: "  # before a part of a card


def require_extras(options: ExportOptions) -> None:
    """Check, before a training, that its export will find the packages that it needs.

    Raises:
        ReleaseError: if one is not there.
    """
    require_packages(f"format={options.format}", *FORMATS[options.format].needs)
    require_sharing_packages(options)


def require_sharing_packages(options: ExportOptions) -> None:
    """Check that there is what a card and the Hub need, before anything is written.

    Raises:
        ReleaseError: if there is not.
    """
    if options.has_card:
        require_packages("A model card (card=true, which --no-card leaves out)", "huggingface_hub", "matplotlib")
    if options.hub:
        require_packages("Pushing to the Hub", "huggingface_hub")


def share(report: ExportReport, draft: PreparedRelease, options: ExportOptions) -> ExportReport:
    """Write the card of a release, and push it, as far as it is asked for.

    Args:
        report: of the release, which is there.
        draft: what it was made of.
        options: how.

    Raises:
        ReleaseError: if it cannot be done; the release stays as it is.
    """
    card = _Card(report, draft, options)
    names = card.write() if options.has_card else []
    if report.written and not options.has_card:
        warn_of_stale_card(report.folder)
    if options.hub is None:
        return report
    with progress.hide():
        warn_of_private_values(draft, options)
    return replace(report, url=_push(report, [*names, MANIFEST], card, draft, options))


def warn_of_stale_card(folder: Path) -> None:
    """Say that a card of ours, which is not written now, is one of the release that was there before."""
    if MARK in (_read(folder / CARD) or ""):
        logger.warning("%s is that of another release: export with card=true to bring it up to date.", folder / CARD)


def warn_of_private_values(draft: PreparedRelease, options: ExportOptions) -> None:
    """Say what of the configurations would be published, if they go to the Hub as they are."""
    if options.hub is None:
        return
    found = [*_exposed(draft)]
    if not options.scrub or found:
        what = f"{len(found)} values that look private" if found else "its whole configuration"
        remedy = "look whether they should" if PUBLIC in options.patterns else \
            "scrub=public leaves out what nobody needs to load the model"
        logger.warning("%s goes to %s with %s: %s.", printable(draft.manifest.name), options.hub, what, remedy)
    for line in found:
        logger.warning("published: %s", line)


def _exposed(draft: PreparedRelease) -> Iterator[str]:
    for model in draft.models:
        yield from _lines(model.config.values, "")
    text = draft.codec.content.get("xp.cfg") if draft.codec else None
    if text:
        yield from _lines(Config.parse(text).values, "compression model: ")
    yield from _lines(draft.manifest.to_dict(), f"{MANIFEST}: ")


def _lines(values: Any, of: str) -> Iterator[str]:
    """What plain data would publish, a line for each value."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for exposure in find_private_values(values):
        kinds.setdefault((exposure.key, exposure.value), []).append(exposure.kind)
    for (key, value), found in kinds.items():
        yield printable(f"{of}`{key}` = {value} ({', '.join(found)})")


def _push(report: ExportReport, beside: list[str], card: _Card, draft: PreparedRelease, options: ExportOptions) -> str:
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


class _Card:
    """The card of a release, and its pictures."""

    def __init__(self, report: ExportReport, draft: PreparedRelease, options: ExportOptions) -> None:
        self._report, self._draft, self._options = report, draft, options
        self._curves: list[str] = []

    def write(self) -> list[str]:
        """Write it, if it is another one than is there; gives the names of its files."""
        from .card.plot import curves
        folder, manifest = self._report.folder, self._report.manifest
        pictures = curves(self._history, manifest.best)
        self._curves = [*pictures]
        self._written({**pictures, CARD: self._text(_read(folder / CARD))})
        return [CARD, *pictures]

    def keeps(self, there: str) -> bool:
        """Whether nothing that somebody wrote in another card, on the Hub, is lost with this one.

        What was added there is taken over, if nothing was added here.
        """
        here, merged = _read(self._report.folder / CARD) or "", self._text(there)
        if _is_part(merged, here):
            return True
        is_untouched = here == self._text(None)
        if is_untouched:
            self._written({CARD: merged})
        return is_untouched

    @property
    def _history(self) -> list[Any]:
        return self._draft.models[0].checkpoint.history if len(self._draft.models) == 1 else []

    def _text(self, former: Optional[str]) -> str:
        from .card.card import card
        options = self._options
        return card(self._report.manifest, self._draft.models[0].config, self._history, options.format,
                    _architecture(self._report), options.hub, self._curves, former)

    def _written(self, contents: Mapping[str, Any]) -> None:
        folder = self._report.folder
        changed = {name: content for name, content in contents.items() if not _holds(folder / name, content)}
        if changed:  # the folder may be read-only
            writer.replace_files(folder, changed)


def _architecture(report: ExportReport) -> Optional[str]:
    """The class of transformers that loads a release, if one does; a `config.json` of others says nothing of it."""
    texts = [path.read_text("utf-8") for path in report.files if path.name == "config.json"]
    return str(json.loads(texts[0])["architectures"][0]) if texts else None


def _read(path: Path) -> Optional[str]:
    """A card that is there, with the ends of its lines."""
    try:
        return path.read_bytes().decode("utf-8") if os.path.isfile(path) else None
    except UnicodeDecodeError as exc:
        raise ReleaseError(f"{path} is no text in UTF-8 ({reason(exc)}), so nobody knows what to keep of it: correct "
                           "it, or move it away.") from exc


def _is_part(text: str, of: str) -> bool:
    """Whether all lines of a text are in another one, in their order."""
    lines = iter(of.splitlines())
    return all(line in lines for line in text.splitlines())


def _holds(path: Path, content: Any) -> bool:
    data = content.encode("utf-8") if isinstance(content, str) else content
    return os.path.isfile(path) and path.read_bytes() == data
