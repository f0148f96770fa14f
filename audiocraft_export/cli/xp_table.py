"""Show summaries of experiments as a table, or as CSV."""

import csv
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Optional

from ..errors import OptionError, did_you_mean, readable_size, split_warning
from ..inspection.short_names import short_names
from ..inspection.xp_summary import XPSummary
from ..options import describe_options
from .limits import MAX_SIG
from .output import Cell, Column, cut, duration

Table = tuple[Sequence[Column], Sequence[Sequence[str]]]
KEYS = [each.name for each in fields(XPSummary) if each.name != "keys"]
HEADS = {"what": "overrides", "release": "state", "age": "changed"}  # other heads of the table, and their keys in CSV
COLUMNS = (Column("sig", style="bold"), Column("solver", drop_order=5), Column("what", shrink=True, min_width=16),
           Column("epochs", right=True, drop_order=3), Column("best", drop_order=2),
           Column("checkpoint", right=True, drop_order=4), Column("release", shrink=True, min_width=18),
           Column("age", right=True, drop_order=1))
SORTED_COLUMN = {"sig": "sig", "age": "age", "size": "checkpoint"}  # `best` for any other sort key
STATES = {  # text and style by state; any other state is itself, in red
    "none": ("missing", "dim"), "up_to_date": ("up to date", "green"), "other_options": ("up to date", "yellow"),
    "stale": ("stale", "yellow"), None: ("unreadable", "red"),
}


def default_table(found: Sequence[XPSummary], sort_key: str) -> Table:
    """Return columns and rows with what people compare; the column of the sort key is never dropped."""
    kept = SORTED_COLUMN.get(sort_key, "best")
    return [replace(column, drop_order=0) if column.name == kept else column for column in COLUMNS], _rows(found)


def key_table(found: Sequence[XPSummary], keys: Sequence[str]) -> Table:
    """Return a table with keys of `schema.json` and `HEADS` as columns; none of them is dropped."""
    heads = {column.name: index for index, column in enumerate(COLUMNS) if column.name in HEADS}
    rows = _rows(found) if heads.keys() & {*keys} else [[]] * len(found)
    return [Column(key, shrink=True) for key in keys], [
        [row[heads[key]] if key in heads else _cell(xp, key) for key in keys] for xp, row in zip(found, rows)]


def print_csv(found: Sequence[XPSummary], keys: Sequence[str]) -> None:
    """Print CSV as of RFC 4180, but with the line ends of the shell; lists and objects are JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(keys)
    for xp in found:
        values = [getattr(xp, HEADS.get(key, key)) for key in keys]
        writer.writerow([json.dumps(value) if isinstance(value, (list, dict)) else value for value in values])


def valid_columns(text: Optional[str]) -> Sequence[str]:
    """Split the value of `--columns`; None is all keys.

    Raises:
        OptionError: if a key is unknown.
    """
    names = KEYS if text is None else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*KEYS, *HEADS):
            raise OptionError("invalid-option", f"unknown column {name!r}",
                              did_you_mean(name, [*KEYS, *HEADS], f"choose from {', '.join((*KEYS, *HEADS))}"))
    return names


def _rows(found: Sequence[XPSummary]) -> list[list[str]]:
    names = short_names([xp.overrides or [] for xp in found], [xp.solver for xp in found], [xp.keys for xp in found])
    return [_row(xp, name) for xp, name in zip(found, names)]


def _row(xp: XPSummary, name: str) -> list[str]:
    done = "?" if xp.epochs is None else str(xp.epochs)
    epochs = Cell(f"{done}/{xp.planned_epochs}" if xp.planned_epochs else done, "red" if xp.epochs is None else "")
    best = "" if xp.best is None else f"{xp.metric} {xp.best:.4g} @{xp.best_epoch}"
    return [cut(xp.sig, MAX_SIG), xp.solver or "?", name, epochs, best, _checkpoint(xp), _release(xp),
            duration(time.time() - xp.changed)]


def _checkpoint(xp: XPSummary) -> Cell:
    codes = {split_warning(warning)[0] for warning in xp.warnings}
    is_broken = "unusable-checkpoint" in codes or xp.checkpoint_bytes is None and "unreadable-experiment" in codes
    size = "none" if xp.checkpoint_bytes is None else readable_size(xp.checkpoint_bytes)
    others = f" +{xp.other_checkpoints}" if xp.other_checkpoints else ""
    return Cell(("unusable" if is_broken else size) + others, "red" if is_broken else "")


def _release(xp: XPSummary) -> Cell:
    size = "" if xp.bytes is None else f" {readable_size(xp.bytes)}"
    nonfinite = f"{xp.nonfinite} NaN/inf" if xp.nonfinite else ""
    state = _state(xp)
    return Cell(", ".join(filter(None, (state + size, describe_options(xp.options), nonfinite))), state.style)


def _state(xp: XPSummary) -> Cell:
    text, style = STATES.get(xp.state, (xp.state or "", "red"))
    return Cell(text, style)


def _cell(xp: XPSummary, key: str) -> str:
    """Return a value as shown to people."""
    value: Any = getattr(xp, key)
    if key == "state":
        return _state(xp)
    if value is None or value in ([], {}):
        return "-"
    if key in ("bytes", "checkpoint_bytes"):
        return readable_size(value)
    if key == "options":
        return describe_options(value)
    if key == "changed":
        return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
