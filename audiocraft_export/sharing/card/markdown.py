"""Markdown that shows values and does nothing that they say: names in hostile files may hold anything."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import printable
from .limits import MAX_CODE, MAX_PROSE

PLAIN_CODE = re.compile(r"[\w.,:;=+/() -]*[\w.,:;=+/()-]", re.ASCII)
ACTIVE = re.compile(r"[\\`*\[\]<>|#&!~$@{}\"']|(?<![^\W_])_|_(?![^\W_])|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE)
FIRST = re.compile(r"^\W|(?<=\d)[.)]")  # what makes a list, a quotation or a heading of a line


def prose(value: Any) -> str:
    """A value in running text: in one line, with what Markdown and HTML would act on as character references."""
    text = ACTIVE.sub(_reference, _shorten(value, MAX_PROSE))
    return text if text[:1] == "&" else FIRST.sub(_reference, text, count=1)


def code(value: Any) -> str:
    """A value as code: a name, a number, a hash."""
    text = _shorten(value, MAX_CODE)
    if PLAIN_CODE.fullmatch(text) and not text.startswith(" "):
        return f"`{text}`"
    return f"<code>{re.sub(r'[^A-Za-z0-9 ]', _reference, text)}</code>"


def number(value: float) -> str:
    """A measured number."""
    return f"{value:.4g}"


def amount(value: float, noun: str) -> str:
    """A count with its noun, which gets an s."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, of cells that are safe already (`prose`, `code`)."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def block(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.strip()}\n```"


def _reference(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def _shorten(value: Any, most: int) -> str:
    text = printable(str(value))
    return text if len(text) <= most else f"{text[:most]}..."
