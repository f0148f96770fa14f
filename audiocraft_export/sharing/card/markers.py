"""The sections of a card that an export writes, between markers, and the text of a person around them.

    <!-- audiocraft-export: NAME -->
    ...
    <!-- /audiocraft-export: NAME -->
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from ...errors import ReleaseError
from .source import CARD_FILE

MARKER = re.compile(r"<!-- (/?)audiocraft-export: ([\w-]+) -->")
NOTICE = re.compile(r"<!-- audiocraft-export wrote (\{[^{}]*\})[^{}]*?-->[ \t]*(?:\r?\n)*")
NOTICE_RULES = """. The next
export writes what stands between its marks anew. All else stays: what you write outside of the marks, and what you
add to or change in the front matter. A part that you delete stays deleted, unless you delete all of them. """


def replace_sections(body: str, sections: Mapping[str, str], metadata: Mapping[str, Any], end: str = "\n") -> str:
    """Put sections into the text of a card.

    Args:
        body: without front matter.
        sections: text by name. If `body` has none of them, they are appended; otherwise only those that it has are
            replaced.
        metadata: plain data for the next export, without braces and `>` in its strings.

    Raises:
        ReleaseError: if a marker has lost its counterpart, or a section is there twice.
    """
    notice = f"<!-- audiocraft-export wrote {json.dumps(metadata)}{NOTICE_RULES}-->\n\n".replace("\n", end)
    body = NOTICE.sub("", body)
    spans = _spans(body)
    if not spans:
        whole = "\n\n".join(_mark(name, text) for name, text in sections.items()) + "\n"
        before = f"{body.rstrip()}{end * 2}" if body.strip() else ""
        return before + notice + whole.replace("\n", end)
    for name, start, stop in reversed(spans):
        if name in sections:
            body = body[:start] + _mark(name, sections[name]).replace("\n", end) + body[stop:]
    first = spans[0][1]
    return body[:first] + notice + body[first:]


def has_sections(text: str) -> bool:
    """Whether a text is a card that an export has written."""
    return bool(MARKER.search(text))


def last_metadata(body: str) -> dict[str, Any]:
    """The metadata that the last export left in a card; empty without any."""
    found = NOTICE.search(body)
    try:
        return dict(json.loads(found[1])) if found else {}
    except (ValueError, RecursionError):
        return {}


def _spans(body: str) -> list[tuple[str, int, int]]:
    """Name, beginning and end of each section."""
    markers = list(MARKER.finditer(body))
    spans = []
    for opening, closing in zip_longest(markers[::2], markers[1::2]):
        if closing is None or opening[1] or not closing[1] or opening[2] != closing[2]:
            raise ReleaseError(f"{CARD_FILE} has {opening[0]} without the mark that belongs to it, so where that part "
                               "ends nobody knows: put the other mark back, or delete this one and its text.")
        spans.append((opening[2], opening.start(), closing.end()))
    twice = [name for name, count in Counter(name for name, _, _ in spans).items() if count > 1]
    if twice:
        raise ReleaseError(f"{CARD_FILE} has the part {twice[0]} of an export more than once: delete all but one.")
    return spans


def _mark(name: str, text: str) -> str:
    return f"<!-- audiocraft-export: {name} -->\n{text}\n<!-- /audiocraft-export: {name} -->"
