"""What is printed: sentences, and tables that are drawn on a terminal and plain text elsewhere."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from unicodedata import east_asian_width

from .errors import ExportError, printable

_LEAST, _MOST, _GAP = 8, 80, 2  # characters of a column that gives way, and between columns


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: its head.
        right: whether its cells stand at its right side, as numbers do.
        gives_way: whether it is cut first where the terminal is narrow.
        least: to how many characters, as long as others can be left out instead.
        goes: which column is left out next where that is not enough, the highest first; 0 never is.
        style: of its cells on a terminal, by `rich.style`.
    """

    name: str
    right: bool = False
    gives_way: bool = False
    least: int = 8
    goes: int = 0
    style: str = ""


def make_streams_usable() -> None:
    """Let printing never fail for what it prints: streams that are closed, names that the encoding does not have."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a sentence on stderr."""
    with suppress(OSError):  # what was done is not undone because nobody can be told
        print(text, file=sys.stderr)


def complain(exc: ExportError, debug: bool) -> None:
    """Print an error: in one sentence, or where it comes from as well."""
    if debug:
        logging.error("%s", exc, exc_info=exc)
    else:
        say(f"audiocraft-export: {exc}")


def complain_of(target: str, exc: ExportError, as_json: bool, debug: bool) -> None:
    """Print the error of one of several targets, on stdout as well if that is read by a script."""
    if as_json:
        print(json.dumps({"target": target, "error": str(exc)}))
    complain(exc, debug)


def show(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout: cut to the width of a terminal; elsewhere only what gives way is, where it is very long.

    Args:
        columns: those in which no row has anything are left out.
        rows: the texts of the cells.
    """
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    lines = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        _draw(columns, lines, used)
    else:
        _write(columns, lines, used)


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]], used: list[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    console = Console()
    widths = _widths(columns, rows)
    least = [min(width, column.least) if column.gives_way else width for column, width in zip(columns, widths)]
    for index in sorted((index for index in used if columns[index].goes), key=lambda index: -columns[index].goes):
        if sum(least[each] + _GAP for each in used) > console.width + _GAP:
            used = [each for each in used if each != index]
    over = sum(widths[each] + _GAP for each in used) - _GAP - console.width
    plain = console.no_color
    overflow: Literal["ellipsis", "crop"] = "ellipsis" if console.encoding.startswith("utf") else "crop"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False,
                  header_style="" if plain else "table.header")
    for index in used:
        column = columns[index]
        most = max(widths[index] - over, _LEAST) if column.gives_way and over > 0 else None
        table.add_column(column.name, justify="right" if column.right else "left", no_wrap=True,
                         style="" if plain else column.style, overflow=overflow, max_width=most)
    for row in rows:
        table.add_row(*(Text(row[index]) for index in used))
    console.print(table)


def _write(columns: Sequence[Column], rows: Sequence[Sequence[str]], used: list[int]) -> None:
    rows = [[_cut(cell) if column.gives_way else cell for cell, column in zip(row, columns)] for row in rows]
    widths = _widths(columns, rows)
    for line in ([column.name for column in columns], *rows):
        print((" " * _GAP).join(_padded(line[index], widths[index], columns[index].right) for index in used).rstrip())


def _padded(text: str, width: int, right: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if right else text + blank


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST - 3]}..."


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, cells)) for cells in zip([column.name for column in columns], *rows)]


def _width(text: str) -> int:
    """How many columns of a terminal it takes."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(each) in "WF" else 1 for each in text)
