"""Replace the generated sections of a card, each between two markers; all other text is kept.

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
from ...release.manifest import CARD_FILE

MARKER = re.compile(r"<!-- (/?)audiocraft-export: ([\w-]+) -->")
NOTICE = re.compile(r"<!-- audiocraft-export wrote (\{[^{}]*\})[^{}]*?-->[ \t]*(?:\r?\n)*")
NOTICE_RULES = """. The next
export rewrites the sections between its markers. Everything else is kept: text outside of the markers, and what you
add or change in the front matter. A section that you delete stays deleted, unless you delete all of them. """


def replace_sections(body: str, sections: Mapping[str, str], metadata: Mapping[str, Any], end: str = "\n") -> str:
    """Insert or update the generated sections of a card.

    Args:
        body: the text of the card without front matter.
        sections: text by name. If `body` has no section, all are appended; otherwise only existing ones are replaced.
        metadata: plain data for the next export; its strings must not contain braces or `>`.
        end: the line ending to write.

    Raises:
        ReleaseError: if a marker is unmatched, or a section occurs twice.
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
    """Return whether a card has generated sections."""
    return bool(MARKER.search(text))


def outline(text: str) -> list[str]:
    """Return the lines of a card that people edit: all but the text of its sections, whose markers are kept.

    Raises:
        ReleaseError: if a marker is unmatched, or a section occurs twice.
    """
    parts, end = [], 0
    for name, start, stop in _spans(text):
        parts += [text[end:start], _mark(name, "")]
        end = stop
    return "".join([*parts, text[end:]]).splitlines()


def last_metadata(body: str) -> dict[str, Any]:
    """Return the metadata that the previous export stored in a card, or an empty mapping."""
    found = NOTICE.search(body)
    try:
        return dict(json.loads(found[1])) if found else {}
    except (ValueError, RecursionError):
        return {}


def _spans(body: str) -> list[tuple[str, int, int]]:
    """Return the name, start and end of each section.

    Raises:
        ReleaseError: if a marker is unmatched, or a section occurs twice.
    """
    markers = list(MARKER.finditer(body))
    spans = []
    for opening, closing in zip_longest(markers[::2], markers[1::2]):
        if closing is None or opening[1] or not closing[1] or opening[2] != closing[2]:
            raise ReleaseError("invalid-card", f"{CARD_FILE}: unmatched marker {opening[0]}",
                               "restore its counterpart or delete the section")
        spans.append((opening[2], opening.start(), closing.end()))
    twice = [name for name, count in Counter(name for name, _, _ in spans).items() if count > 1]
    if twice:
        raise ReleaseError("invalid-card", f"{CARD_FILE}: the section {twice[0]} occurs more than once",
                           "delete the duplicates")
    return spans


def _mark(name: str, text: str) -> str:
    return f"<!-- audiocraft-export: {name} -->\n{text}\n<!-- /audiocraft-export: {name} -->"
