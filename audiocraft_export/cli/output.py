"""Print errors and tables: styled on a terminal, plain text elsewhere."""

import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any
from unicodedata import category, east_asian_width

from ..errors import ExportError, printable
from .limits import MAX_CELL, MIN_CELL

GAP = 2  # characters between columns
SCHEMA = 1  # version of `schema.json`
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}  # ANSI codes
UNITS = (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str  # header
    right: bool = False  # whether to align it to the right
    shrink: bool = False  # whether to cut its cells on a narrow terminal
    min_width: int = MIN_CELL  # minimum width in characters; narrower terminals drop columns
    tail: bool = False  # whether to cut the beginning of a cell, not the end
    drop_order: int = 0  # columns with the highest order are dropped first; 0 is never dropped
    style: str = ""  # a key of `STYLES`, on a terminal


class Cell(str):
    """A cell of a table that has its own style, on a terminal."""

    style: str

    def __new__(cls, text: str, style: str) -> "Cell":
        """Return a string with a style."""
        cell = super().__new__(cls, printable(text))
        cell.style = style
        return cell


def make_streams_usable() -> None:
    """Replace closed standard streams, and escape characters that the encoding of a stream does not have."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # It was closed (`>&-`). No other file may get its descriptor, not even in child processes.
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
            os.set_inheritable(getattr(sys, name).fileno(), True)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_quiet() -> bool:
    """Return whether only errors are shown (`--quiet`)."""
    return not logging.getLogger("audiocraft_export").isEnabledFor(logging.WARNING)


def print_result(text: str) -> None:
    """Print the result of a target that has no error on stdout, unless only errors are shown."""
    if not is_quiet():
        print(printable(text))


def print_note(text: str) -> None:
    """Print a line on stderr, unless only errors are shown."""
    if not is_quiet():
        _write_err(text)


def _write_err(text: str) -> None:
    """Print a line on stderr, and ignore a closed or full stream."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def print_error(exc: ExportError, debug: bool, target: str = "") -> None:
    """Print an error and its hint on stderr, with the traceback if asked for; `target` is named if it is not empty."""
    if debug:
        logging.error("%s", exc, exc_info=exc)
    subject = f"{printable(target)}: " if target else ""
    for line, style, where in zip(exc.lines, ("1;31", "1;34"), (subject, "")):  # the error in red, its hint in blue
        label, rest = line.split(": ", 1)
        _write_err(f"{_styled(label, style)}: {where}{rest}")


def print_json(**values: Any) -> None:
    """Print a line of JSON; `schema.json` describes the keys."""
    print(json.dumps({"schema": SCHEMA, **values}))


def print_target_error(target: str, exc: ExportError, as_json: bool, debug: bool, several: bool = False) -> None:
    """Print the error of a target, which is named if it is one of several; as JSON on stdout as well if asked for."""
    if as_json:
        print_json(target=target, error=exc.to_dict())
    print_error(exc, debug, target if several else "")


def _styled(text: str, style: str) -> str:
    """Return a string in an ANSI style on a terminal, or unchanged elsewhere and with `$NO_COLOR`."""
    has_styles = os.environ.get("TERM", "dumb") not in ("dumb", "unknown")  # consoles of Windows set no TERM
    is_plain = not has_styles or not sys.stderr.isatty() or os.environ.get("NO_COLOR")
    return text if is_plain else f"\x1b[{style}m{text}\x1b[0m"


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout, fitted to the width of a terminal, without empty columns."""
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    if not used:
        return
    columns = [columns[index] for index in used]
    cells = [[row[index] if isinstance(row[index], Cell) else printable(row[index]) for index in used] for row in rows]
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    (_draw if is_terminal else _write)(columns, cells)


def cut(text: str, limit: int, tail: bool = False, dots: str = "...") -> str:
    """Shorten a string to `limit` characters, with dots at its end, or at its beginning if `tail` is kept."""
    if len(text) <= limit:
        return text
    room = max(limit - len(dots), 0)
    return dots + text[len(text) - room:] if tail else text[:room] + dots


def duration(seconds: float) -> str:
    """Return a duration in its largest unit."""
    unit, size = next((unit, size) for unit, size in UNITS if seconds >= size or size == 1)
    return f"{max(int(seconds / size), 0)} {unit}"


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal, cut to its width; `rich` takes 0.5 ms for each row, a hundred times as long."""
    room = get_terminal_size().columns
    fitted = _fit_columns(columns, _widths(columns, rows), room)
    is_utf, is_plain = sys.stdout.encoding.lower().startswith("utf"), bool(os.environ.get("NO_COLOR"))
    layout, total, lines = [], 0, []
    for index, width in fitted.items():
        width = min(width, room - total)  # the columns of a very narrow terminal do not all fit
        layout += [(index, width, columns[index])] if width > 0 else []
        total += width + GAP
    for number, row in enumerate(([column.name for column in columns], *rows)):
        cells = []
        for index, width, column in layout:
            text = _align(cut(row[index], width, column.tail, "…" if is_utf else "..."), width, column.right)
            style = (getattr(row[index], "style", "") or column.style) if number else "bold"
            cells.append(f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style and not is_plain else text)
        lines.append((" " * GAP).join(cells))
    lines.insert(1, ("─" if is_utf else "-") * min(sum(fitted.values()) + GAP * (len(fitted) - 1), room))
    print("\n".join(lines))


def _align(text: str, width: int, right: bool) -> str:
    """Fill a string up to a number of terminal cells, or crop it."""
    if not text.isascii():
        while _width(text) > width:
            text = text[:-1]
        width -= _width(text) - len(text)
    return text.rjust(width) if right else text.ljust(width)


def _fit_columns(columns: Sequence[Column], widths: Sequence[int], room: int) -> dict[int, int]:
    """Return the width of each column that fits, by its index."""
    room += GAP  # The last column has no gap after it.
    least = [min(width, column.min_width) if column.shrink else width for column, width in zip(columns, widths)]
    kept = [*range(len(columns))]
    for index in sorted(kept, key=lambda index: -columns[index].drop_order):
        if columns[index].drop_order and sum(least[each] + GAP for each in kept) > room:
            kept.remove(index)
    fits = sum(least[each] + GAP for each in kept) <= room
    shrinking = sorted((index for index in kept if columns[index].shrink), key=widths.__getitem__)
    left = room - sum(widths[index] + GAP for index in kept if not columns[index].shrink)
    fitted = {index: widths[index] for index in kept}
    for position, index in enumerate(shrinking):  # Narrow columns first: wide ones share the rest.
        reserved = sum(least[each] + GAP for each in shrinking[position + 1:])
        share = min(left // (len(shrinking) - position), left - reserved) - GAP
        fitted[index] = min(widths[index], max(share, least[index] if fits else MIN_CELL))
        left -= fitted[index] + GAP
    return fitted


def _write(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as plain text with aligned columns."""
    rows = [[cut(cell, MAX_CELL) if column.shrink and not column.tail else cell for cell, column in zip(row, columns)]
            for row in rows]
    widths = _widths(columns, rows)
    lines = [[_align(cell, width, column.right) for cell, width, column in zip(row, widths, columns)]
             for row in ([column.name for column in columns], *rows)]
    print("\n".join((" " * GAP).join(line).rstrip() for line in lines))


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, cells)) for cells in zip([column.name for column in columns], *rows)]


def _width(text: str) -> int:
    """Return the number of terminal cells of a string: two for a wide character, none for a combining mark."""
    if text.isascii():
        return len(text)
    return sum(0 if category(each) in ("Mn", "Me") else 2 if east_asian_width(each) in "WF" else 1 for each in text)
