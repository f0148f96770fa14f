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
from unicodedata import east_asian_width

from ..errors import ExportError, printable

_LEAST, _MOST, _GAP = 8, 80, 2  # characters of a column that gives way, and between columns


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: its head.
        right: whether its cells stand at its right side, as numbers do.
        gives_way: whether it is cut first where the terminal is narrow.
        least: to how many characters, as long as others can be left out instead.
        tail: whether it is its beginning that is cut.
        goes: which column is left out next where that is not enough, the highest first; 0 never is.
        style: of its cells on a terminal, by `rich.style`.
    """

    name: str
    right: bool = False
    gives_way: bool = False
    least: int = _LEAST
    tail: bool = False
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


def print_err(text: str) -> None:
    """Print a sentence on stderr."""
    with suppress(OSError):  # what was done is not undone because nobody can be told
        print(text, file=sys.stderr)


def print_error(exc: ExportError, debug: bool) -> None:
    """Print an error: in one sentence, or where it comes from as well."""
    if debug:
        logging.error("%s", exc, exc_info=exc)
    else:
        print_err(f"audiocraft-export: {exc}")


def print_target_error(target: str, exc: ExportError, as_json: bool, debug: bool) -> None:
    """Print the error of one of several targets, on stdout as well if that is read by a script."""
    if as_json:
        print(json.dumps({"target": target, "error": str(exc)}))
    print_error(exc, debug)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout: cut to the width of a terminal; elsewhere only what gives way is, where it is very long.

    Args:
        columns: those in which no row has anything are left out.
        rows: the texts of the cells.
    """
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    if not used:
        return
    lines = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        _draw(columns, lines, used)
    else:
        _write(columns, lines, used)


def cut(text: str, most: int, tail: bool = False, dots: str = "...") -> str:
    """A text, or as much of it as there is room for.

    Args:
        text: the text.
        most: how many characters.
        tail: whether its end counts more than its beginning.
        dots: what stands for the rest.
    """
    if len(text) <= most:
        return text
    room = max(most - len(dots), 0)
    return dots + text[len(text) - room:] if tail else text[:room] + dots


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]], used: list[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    console = Console()
    used, widths = _fit_columns(columns, _widths(columns, rows), used, console.width)
    dots = "…" if console.encoding.startswith("utf") else "..."
    plain = console.no_color
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False,
                  header_style="" if plain else "table.header")
    for index in used:
        column = columns[index]
        table.add_column(column.name, justify="right" if column.right else "left", no_wrap=True, overflow="crop",
                         style="" if plain else column.style, max_width=widths[index] if column.gives_way else None)
    for row in rows:
        table.add_row(*(Text(cut(row[index], widths[index], columns[index].tail, dots)) for index in used))
    console.print(table)


def _fit_columns(columns: Sequence[Column], widths: list[int], used: list[int],
             room: int) -> tuple[list[int], list[int]]:
    """Which columns there is room for, and how wide each of them is to be."""
    least = [min(width, column.least) if column.gives_way else width for column, width in zip(columns, widths)]
    for index in sorted((index for index in used if columns[index].goes), key=lambda index: -columns[index].goes):
        if sum(least[each] + _GAP for each in used) > room + _GAP:
            used = [each for each in used if each != index]
    giving = sorted((each for each in used if columns[each].gives_way), key=widths.__getitem__)
    left = room + _GAP - sum(widths[each] + _GAP for each in used if each not in giving)
    for others, index in zip(range(len(giving), 0, -1), giving):  # what the narrow ones leave goes to the others
        widths[index] = min(widths[index], max(left // others - _GAP, _LEAST))
        left -= widths[index] + _GAP
    return used, widths


def _write(columns: Sequence[Column], rows: Sequence[Sequence[str]], used: list[int]) -> None:
    rows = [[cut(cell, _MOST) if column.gives_way and not column.tail else cell for cell, column in zip(row, columns)]
            for row in rows]
    widths = _widths(columns, rows)
    for line in ([column.name for column in columns], *rows):
        print((" " * _GAP).join(_pad(line[index], widths[index], columns[index].right) for index in used).rstrip())


def _pad(text: str, width: int, right: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if right else text + blank


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, cells)) for cells in zip([column.name for column in columns], *rows)]


def _width(text: str) -> int:
    """How many columns of a terminal it takes."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(each) in "WF" else 1 for each in text)
