"""Print errors, and tables: drawn on a terminal, plain text elsewhere."""

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
from .limits import MAX_CELL, MIN_CELL

GAP = 2  # characters between columns


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str  # its head
    right: bool = False  # whether it is aligned to the right, as numbers are
    shrink: bool = False  # whether its cells are cut where the terminal is narrow
    min_width: int = MIN_CELL  # to how many characters, before other columns are dropped
    tail: bool = False  # whether the end of a cell is kept, not its beginning
    drop_order: int = 0  # the columns with the highest are dropped first where shrinking is not enough; 0 never is
    style: str = ""  # of its cells on a terminal, by `rich.style`


def make_streams_usable() -> None:
    """Replace closed standard streams, and escape characters that the encoding of a stream does not have."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by `>&-`: its file descriptor must be nothing else, here and in other processes
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
            os.set_inheritable(getattr(sys, name).fileno(), True)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_err(text: str) -> None:
    """Print a line on stderr; a closed or full stream is no reason to fail."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def print_error(exc: ExportError, debug: bool) -> None:
    """Print an error in one sentence, or with its traceback."""
    if debug:
        logging.error("%s", exc, exc_info=exc)
    else:
        print_err(f"audiocraft-export: {exc}")


def print_target_error(target: str, exc: ExportError, as_json: bool, debug: bool) -> None:
    """Print the error of one of several targets, as JSON on stdout as well if asked for."""
    if as_json:
        print(json.dumps({"target": target, "error": str(exc)}))
    print_error(exc, debug)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout, fitted to the width of a terminal; columns without any text are left out."""
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    if not used:
        return
    columns = [columns[index] for index in used]
    cells = [[printable(row[index]) for index in used] for row in rows]
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    (_draw if is_terminal else _write)(columns, cells)


def cut(text: str, limit: int, tail: bool = False, dots: str = "...") -> str:
    """Shorten a text to `limit` characters, with dots for what is left out: at its end, or before its tail."""
    if len(text) <= limit:
        return text
    room = max(limit - len(dots), 0)
    return dots + text[len(text) - room:] if tail else text[:room] + dots


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    console = Console()
    widths = _fit_columns(columns, _widths(columns, rows), console.width)
    dots = "…" if console.encoding.startswith("utf") else "..."
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False,
                  header_style="" if console.no_color else "table.header")
    for index, width in widths.items():
        column = columns[index]
        table.add_column(column.name, justify="right" if column.right else "left", no_wrap=True, overflow="crop",
                         style="" if console.no_color else column.style, max_width=width if column.shrink else None)
    for row in rows:
        table.add_row(*(Text(cut(row[index], width, columns[index].tail, dots)) for index, width in widths.items()))
    console.print(table)


def _fit_columns(columns: Sequence[Column], widths: Sequence[int], room: int) -> dict[int, int]:
    """The width of each column that there is room for, by its index."""
    room += GAP  # the last column has no gap behind it
    least = [min(width, column.min_width) if column.shrink else width for column, width in zip(columns, widths)]
    kept = [*range(len(columns))]
    for index in sorted(kept, key=lambda index: -columns[index].drop_order):
        if columns[index].drop_order and sum(least[each] + GAP for each in kept) > room:
            kept.remove(index)
    shrinking = sorted((index for index in kept if columns[index].shrink), key=widths.__getitem__)
    left = room - sum(widths[index] + GAP for index in kept if not columns[index].shrink)
    fitted = {index: widths[index] for index in kept}
    for position, index in enumerate(shrinking):  # the narrowest first: what it does not need is for the others
        share = left // (len(shrinking) - position) - GAP
        fitted[index] = min(widths[index], max(share, MIN_CELL))
        left -= fitted[index] + GAP
    return fitted


def _write(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    rows = [[cut(cell, MAX_CELL) if column.shrink and not column.tail else cell for cell, column in zip(row, columns)]
            for row in rows]
    widths = _widths(columns, rows)
    for line in ([column.name for column in columns], *rows):
        cells = []
        for cell, width, column in zip(line, widths, columns):
            blank = " " * (width - _width(cell))
            cells.append(blank + cell if column.right else cell + blank)
        print((" " * GAP).join(cells).rstrip())


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, cells)) for cells in zip([column.name for column in columns], *rows)]


def _width(text: str) -> int:
    """How many cells of a terminal a text takes."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(each) in "WF" else 1 for each in text)
