"""Write the model card of a release, keeping what people have written in it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ...errors import ReleaseError, reason
from ...formats.encoders import RawFile
from ...options import ExportOptions
from ...release.owned_files import OwnedFiles
from ...release.prepare import PreparedRelease
from ...release.report import ExportReport
from ...storage.writer import replace_files

logger = logging.getLogger(__name__)
CARD = "README.md"
MARK = "<!-- audiocraft-export: "  # before a part of a card


def warn_of_stale_card(folder: Path) -> None:
    """Say that a card of ours, which is not written now, is one of the release that was there before."""
    if MARK in (_read(folder / CARD) or ""):
        logger.warning("%s is that of another release: export with card=true to bring it up to date.", folder / CARD)


class CardUpdate:
    """The card of a release, and its pictures."""

    def __init__(self, report: ExportReport, draft: PreparedRelease, options: ExportOptions) -> None:
        self._report, self._draft, self._options = report, draft, options
        self._curves: list[str] = []

    def write(self) -> list[str]:
        """Write it, if it is another one than is there; gives the names of its files."""
        from .plot import curves
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
        from .card import card
        options = self._options
        return card(self._report.manifest, self._draft.models[0].config, self._history, options.format,
                    _architecture(self._report), options.hub, self._curves, former)

    def _written(self, contents: Mapping[str, Any]) -> None:
        folder = self._report.folder
        changed = {name: content for name, content in contents.items() if not _holds(folder / name, content)}
        if changed:  # the folder may be read-only
            encoders = {name: RawFile(content) for name, content in changed.items()}
            replace_files(folder, encoders, OwnedFiles.owns)


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

