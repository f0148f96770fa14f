"""Write the model card of a release, keeping manual edits."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Optional

from ...errors import ReleaseError, coded_warning, readable_size, reason, show_warning
from ...formats.encoders import RawFile
from ...formats.safetensors.layout import read_json
from ...options import ExportOptions
from ...release.manifest import CARD_FILE, CURVE_FILE
from ...release.metrics import BestRule
from ...release.owned_files import OwnedFiles
from ...release.prepare import PreparedRelease
from ...release.report import ExportReport
from ...storage.small_file import read_small_file
from ...storage.writer import replace_files
from .limits import MAX_CARD_BYTES
from .markdown import prose
from .markers import has_sections, last_metadata, outline
from .source import CardSource

logger = logging.getLogger(__name__)


def warn_of_stale_card(folder: Path) -> None:
    """Log a warning if the card in a folder describes a previous release."""
    try:
        if has_sections(_read_card(folder)):
            _warn(folder, "the card describes a previous release; an export with card=true (--card) updates it")
    except ReleaseError as exc:  # the release is complete without a card
        _warn(folder, f"cannot check which release the card describes: {exc.message}")


def warn_of_stale_remote_card(text: str, report: ExportReport) -> None:
    """Log a warning if a card on the Hub, which a push without a card keeps, does not describe a release."""
    if has_sections(text) and not all(file.sha256 in text for file in report.manifest.files):
        _warn(report.folder, "the card on the Hub describes another release; an export with card=true (--card) updates "
              "it")


@dataclass(frozen=True)
class CardUpdate:
    """The model card of a release and its plot."""

    folder: Path
    source: CardSource
    plot: Mapping[str, bytes]  # the training curve as PNG by file name; empty without a metric to plot

    @classmethod
    def of(cls, report: ExportReport, prepared: PreparedRelease, options: ExportOptions) -> CardUpdate:
        """Prepare the card of a release that is complete on disk."""
        from .plot import plot_history
        manifest, models = report.manifest, prepared.models
        history = models[0].checkpoint.history if len(models) == 1 else []
        named = BestRule.parse(options.metric).metric if options.metric else None
        curve = plot_history(history, manifest.known_best, named)
        source = CardSource(manifest, models[0].config, history, options.format, _architecture(report),
                            repo=options.hub, revision=options.revision,
                            curve=sha256(curve).hexdigest() if curve else None)
        return cls(report.folder, source, {CURVE_FILE: curve} if curve else {})

    @property
    def names(self) -> list[str]:
        """The names of the files of the card."""
        return [CARD_FILE, *self.plot]

    def write(self) -> None:
        """Write the files that are missing or out of date in the folder; a plot of the user is kept.

        Raises:
            ReleaseError: if the existing card cannot be read or updated, or writing fails.
        """
        previous = _read_card(self.folder)
        plot = {name: data for name, data in self.plot.items() if not self._is_of_user(name, previous)}
        self._write({**plot, CARD_FILE: self._render(previous).encode()})

    def _is_of_user(self, name: str, previous: str) -> bool:
        """Return whether an existing plot is neither the new one nor, by its SHA-256, that of the previous card."""
        path = self.folder / name
        if not os.path.isfile(path):
            return False
        found = sha256(_read_file(path)).hexdigest()
        if found in (self.source.curve, last_metadata(previous).get(name)):
            return False
        logger.warning(show_warning(coded_warning("plot-kept", "this file was not made by the previous export, and is "
                                                  "kept: move it to get the new plot"), str(path)))
        return True

    def merge_remote(self, remote: str) -> bool:
        """Merge manual edits of the card on the Hub into the local card, if the local card has no other edits.

        Deleting generated text is an edit. Other text that only the local card has counts as written here.

        Args:
            remote: the text of the card on the Hub.

        Returns:
            Whether the local card now has all edits of the card on the Hub, so that a push loses none of them.

        Raises:
            ReleaseError: if either card cannot be read or updated.
        """
        try:
            merged = self._render(remote)
        except ReleaseError as exc:
            raise ReleaseError("hub-conflict", f"The release in {self.folder} is complete, but not pushed: the "
                               f"edits of the card on the Hub ({self.source.repo}) cannot be kept: {exc.message}",
                               "correct the card on the Hub") from exc
        here, there = outline(_read_card(self.folder)), outline(merged)
        generated = outline(self._render(self._generated_title(here)))
        if _is_part(there, here) and not _restores(here, there, generated):
            return True
        is_untouched = _is_part(here, generated) and not _restores(there, here, generated)
        if is_untouched:
            self._write({CARD_FILE: merged.encode()})
        return is_untouched

    def _render(self, previous: str) -> str:
        from .card import render_card
        return render_card(self.source, previous)

    def _generated_title(self, lines: Sequence[str]) -> str:
        """Return the generated title of a card, which may name the repository; empty if the card has another title."""
        titles = [f"# {prose(replace(self.source, repo=repo).title)}" for repo in (None, self.source.repo)]
        return next((title for title in titles if title in lines), "")

    def _write(self, contents: Mapping[str, bytes]) -> None:
        changed = {name: RawFile(data) for name, data in contents.items() if not _holds(self.folder / name, data)}
        if changed:  # otherwise the folder is not written to, because it may be read-only
            replace_files(self.folder, changed, OwnedFiles.owns)


def _warn(folder: Path, text: str) -> None:
    logger.warning(show_warning(coded_warning("old-card", text), str(folder / CARD_FILE)))


def _architecture(report: ExportReport) -> Optional[str]:
    """Return the class of transformers that loads a release, if any; `config.json` must be a file of the release."""
    names = [read_json(path).get("architectures") for path in report.files if path.name == "config.json"]
    return str(names[0][0]) if names and isinstance(names[0], list) and names[0] else None


def _read_card(folder: Path) -> str:
    """Read the card in a folder without converting line endings; empty if the folder has no card.

    Raises:
        ReleaseError: if the card cannot be read, is too large, or is not UTF-8.
    """
    path = folder / CARD_FILE
    try:
        return _read_file(path).decode("utf-8") if os.path.isfile(path) else ""
    except UnicodeDecodeError as exc:
        raise ReleaseError("invalid-card", f"{path} is not valid UTF-8 ({reason(exc)})",
                           "correct it or move it away") from exc


def _read_file(path: Path) -> bytes:
    try:
        return read_small_file(path, MAX_CARD_BYTES)
    except OSError as exc:
        if exc.errno == errno.EFBIG:
            raise ReleaseError("invalid-card", f"{path} is larger than the limit of {readable_size(MAX_CARD_BYTES)}",
                               "shorten it or move it away") from exc
        raise ReleaseError("read-failed", f"Cannot read {path} ({reason(exc)})",
                           "make it readable or move it away") from exc


def _is_part(lines: Sequence[str], of: Sequence[str]) -> bool:
    """Return whether `of` has all of the lines, in the same order."""
    others = iter(of)
    return all(line in others for line in lines)


def _restores(lines: Sequence[str], others: Sequence[str], generated: Sequence[str]) -> bool:
    """Return whether the lines have generated ones that were deleted from the others."""
    return bool({*generated} & {*lines} - {*others})


def _holds(path: Path, data: bytes) -> bool:
    """Return whether a file exists and has this content."""
    return os.path.isfile(path) and os.path.getsize(path) == len(data) and _read_file(path) == data
