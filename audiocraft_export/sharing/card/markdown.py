"""Render untrusted values as Markdown, with all markup in them escaped."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import plural, printable
from .limits import MAX_CODE, MAX_PROSE

PLAIN_CODE = re.compile(r"[\w.,:;=+/() -]*[\w.,:;=+/()-]", re.ASCII)
ACTIVE = re.compile(r"[\\`*\[\]<>|#&!~$@{}\"']|(?<![^\W_])_|_(?![^\W_])|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE)
FIRST = re.compile(r"^\W|(?<=\d)[.)]")  # characters that start a list, a quotation or a heading


def prose(value: Any) -> str:
    """Render a value as running text in one line, with Markdown and HTML syntax as character references."""
    text = ACTIVE.sub(_reference, _shorten(value, MAX_PROSE))
    return text if text[:1] == "&" else FIRST.sub(_reference, text, count=1)


def code(value: Any) -> str:
    """Render a value as inline code."""
    text = _shorten(value, MAX_CODE)
    if PLAIN_CODE.fullmatch(text) and not text.startswith(" "):
        return f"`{text}`"
    return f"<code>{re.sub(r'[^A-Za-z0-9 ]', _reference, text)}</code>"


def number(value: float) -> str:
    """Format a measured number with four significant digits."""
    return f"{value:.4g}"


def amount(value: float, noun: str) -> str:
    """Format a count with its noun, in the plural unless the count is 1."""
    return f"{value:,} {plural(value, noun)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table from cells that are already escaped (by `prose` or `code`)."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def block(language: str, text: str) -> str:
    """Render a fenced code block."""
    return f"```{language}\n{text.strip()}\n```"


def _reference(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def _shorten(value: Any, most: int) -> str:
    text = printable(str(value))
    return text if len(text) <= most else f"{text[:most]}..."
