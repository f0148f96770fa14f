"""Write the model card of a release, keeping what people have written in it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ...errors import ReleaseError, readable_size, reason
from ...formats.encoders import RawFile
from ...formats.safetensors.layout import read_json
from ...options import ExportOptions
from ...release.metrics import Selection
from ...release.owned_files import OwnedFiles
from ...release.prepare import PreparedRelease
from ...release.report import ExportReport
from ...storage.writer import replace_files
from ..hub.endpoint import check_endpoint
from .limits import MAX_CARD_BYTES
from .markers import has_sections
from .source import CARD_FILE, CURVE_FILE, CardSource

logger = logging.getLogger(__name__)


def warn_of_stale_card(folder: Path) -> None:
    """Warn of a card that describes the previous release of a folder, where none is written now."""
    try:
        if has_sections(_read_card(folder)):
            logger.warning("%s is that of another release: export with card=true to bring it up to date.",
                           folder / CARD_FILE)
    except ReleaseError as exc:  # the release is complete without a card
        logger.warning("%s", exc)


@dataclass(frozen=True)
class CardUpdate:
    """The model card of a release, and the plot beside it."""

    folder: Path
    source: CardSource
    plot: Mapping[str, bytes]  # the training curve, as PNG, by the name of its file; empty without a metric to plot

    @classmethod
    def of(cls, report: ExportReport, prepared: PreparedRelease, options: ExportOptions) -> CardUpdate:
        """The card of a release that is written."""
        from .plot import plot_history
        check_endpoint()  # huggingface_hub makes the front matter
        manifest, models = report.manifest, prepared.models
        history = models[0].checkpoint.history if len(models) == 1 else []
        named = Selection.parse(options.metric).metric if options.metric else None
        curve = plot_history(history, manifest.known_best, named)
        source = CardSource(manifest, models[0].config, history, options.format, _architecture(report), options.hub,
                            has_curve=curve is not None)
        return cls(report.folder, source, {CURVE_FILE: curve} if curve else {})

    @property
    def names(self) -> list[str]:
        """The names of its files."""
        return [CARD_FILE, *self.plot]

    def write(self) -> None:
        """Write the files that differ from those in the folder."""
        self._write({**self.plot, CARD_FILE: self._render(_read_card(self.folder)).encode()})

    def merge_remote(self, remote: str) -> bool:
        """Take over what somebody wrote in the card on the Hub, if nothing was written here.

        Returns:
            Whether this card has all of it, so that a push loses nothing.

        Raises:
            ReleaseError: if the one on the Hub, or here, cannot be read.
        """
        here = _read_card(self.folder)
        try:
            merged = self._render(remote)
        except ReleaseError as exc:
            raise ReleaseError(f"The release in {self.folder} is complete, but not pushed: what is on the Hub "
                               f"({self.source.repo}) cannot be kept. {exc}") from exc
        if _is_part(merged, here):
            return True
        is_untouched = here == self._render("")
        if is_untouched:
            self._write({CARD_FILE: merged.encode()})
        return is_untouched

    def _render(self, previous: str) -> str:
        from .card import render_card
        return render_card(self.source, previous)

    def _write(self, contents: Mapping[str, bytes]) -> None:
        changed = {name: RawFile(data) for name, data in contents.items() if not _holds(self.folder / name, data)}
        if changed:  # the folder may be read-only
            replace_files(self.folder, changed, OwnedFiles.owns)


def _architecture(report: ExportReport) -> Optional[str]:
    """The class of transformers that loads a release, if one does; a `config.json` of others says nothing of it."""
    names = [read_json(path).get("architectures") for path in report.files if path.name == "config.json"]
    return str(names[0][0]) if names and isinstance(names[0], list) and names[0] else None


def _read_card(folder: Path) -> str:
    """The card in a folder, with its own line endings; empty without any."""
    path = folder / CARD_FILE
    try:
        return _read_file(path).decode("utf-8") if os.path.isfile(path) else ""
    except UnicodeDecodeError as exc:
        raise ReleaseError(f"{path} is no text in UTF-8 ({reason(exc)}), so nobody knows what to keep of it: correct "
                           "it, or move it away.") from exc


def _read_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
    except OSError as exc:
        raise ReleaseError(f"{path} cannot be read ({reason(exc)}), so nobody knows what to keep of it: check its "
                           "permissions and its disk, or move it away.") from exc
    if len(data) > MAX_CARD_BYTES:
        raise ReleaseError(f"{path} is larger than any card ({readable_size(MAX_CARD_BYTES)}): shorten it, or move it "
                           "away.")
    return data


def _is_part(text: str, of: str) -> bool:
    """Whether all lines of a text are in another one, in their order."""
    lines = iter(of.splitlines())
    return all(line in lines for line in text.splitlines())


def _holds(path: Path, data: bytes) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) == len(data) and _read_file(path) == data
