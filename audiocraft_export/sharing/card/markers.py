"""The parts of a card that an export writes, between marks, and the text of a person around them.

    <!-- audiocraft-export: NAME -->
    ...
    <!-- /audiocraft-export: NAME -->
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...errors import ReleaseError

MARK = re.compile(r"<!-- (/?)audiocraft-export: ([\w-]+) -->")
NOTICE = re.compile(r"<!-- audiocraft-export wrote (\{.*?\})[^{}]*?-->[ \t]*(?:\r?\n)*")
RULES = """. The next
export writes what stands between its marks anew. All else stays: what you write outside of the marks, and what you
add to or change in the front matter. A part that you delete stays deleted, unless you delete all of them. """


def combined(body: str, parts: Mapping[str, str], memory: Mapping[str, Any], end: str = "\n") -> str:
    """The text of a card with the parts of an export in it.

    Args:
        body: the text that is there, without front matter.
        parts: text by name. Where `body` has none of them, they come behind it; otherwise only those that it has are
            replaced.
        memory: plain data for the next export, without braces and `>` in its texts.
        end: of a line.

    Raises:
        ReleaseError: if a part has no end, or no beginning.
    """
    notice = f"<!-- audiocraft-export wrote {json.dumps(memory)}{RULES}-->\n\n".replace("\n", end)
    body = NOTICE.sub("", body)
    spans = _spans(body)
    if not spans:
        whole = "\n\n".join(_marked(name, text) for name, text in parts.items()) + "\n"
        return (f"{body.rstrip()}{end * 2}" if body.strip() else "") + notice + whole.replace("\n", end)
    for name, start, stop in reversed(spans):
        if name in parts:
            body = body[:start] + _marked(name, parts[name]).replace("\n", end) + body[stop:]
    first = spans[0][1]
    return body[:first] + notice + body[first:]


def memory_of(body: str) -> dict[str, Any]:
    """What the last export left for the next one in the text of a card; nothing if it left nothing."""
    found = NOTICE.search(body)
    try:
        memory = json.loads(found[1]) if found else {}
    except (ValueError, RecursionError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _spans(body: str) -> list[tuple[str, int, int]]:
    """Name, beginning and end of each part."""
    marks = list(MARK.finditer(body))
    spans = []
    for opening, closing in zip(marks[::2], marks[1::2]):
        if opening[1] or not closing[1] or opening[2] != closing[2]:
            raise ReleaseError(_unpaired(opening))
        spans.append((opening[2], opening.start(), closing.end()))
    if len(marks) % 2:
        raise ReleaseError(_unpaired(marks[-1]))
    return spans


def _unpaired(mark: re.Match[str]) -> str:
    return (f"README.md has {mark[0]} without the mark that belongs to it, so where that part ends nobody knows: put "
            "the other mark back, or delete this one and its text.")


def _marked(name: str, text: str) -> str:
    return f"<!-- audiocraft-export: {name} -->\n{text}\n<!-- /audiocraft-export: {name} -->"
