"""The YAML at the top of a card as text: a key is replaced, and all else stays as a person wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from ...errors import ReleaseError, reason

FENCED = re.compile(r"\A\s*---[ \t]*\r?\n((?:[^\n]*\n)*?)---[ \t]*(?:\r?\n|\Z)")
COMMENT = re.compile(r"\s*(#.*)?")
REMEDY = "correct it, or move that file away"


def split(card: str) -> tuple[str, str]:
    """The YAML of a card, empty without any, and the text below it."""
    found = FENCED.match(card)
    return (found[1], card[found.end():]) if found else ("", card)


def parse(text: str) -> dict[Any, Any]:
    """What the YAML of a card says.

    Raises:
        ReleaseError: if it is no mapping in YAML, or has aliases, which may stand for any amount.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ReleaseError(f"The front matter of README.md has aliases of YAML (&, *): {REMEDY}.")
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ReleaseError(f"The front matter of README.md, between its lines of ---, is no YAML ({_why(exc)}): "
                           f"{REMEDY}.") from exc
    if not isinstance(values, (dict, type(None))):
        raise ReleaseError(f"The front matter of README.md, between its lines of ---, is no mapping of keys to values: "
                           f"{REMEDY}.")
    return values or {}


def updated(text: str, values: Mapping[Any, Any]) -> str:
    """The YAML of a card with other values; what says the same stays as it was written, comments too.

    Args:
        text: the YAML.
        values: all that it should say.
    """
    before = parse(text)
    blocks = _blocks(text)
    lines = [_dumped({key: values[key]}) + _trailing(block) if key in values and values[key] != before[key] else block
             for key, block in blocks if key is None or key in values]
    new = "".join(lines) + "".join(_dumped({key: values[key]}) for key in values if key not in before)
    return new if _says(new, values) else _dumped(values)


def _why(exc: Exception) -> str:
    """What is wrong, and in which line of the card."""
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark:
        return f"line {exc.problem_mark.line + 2}: {exc.problem}"
    return "it is nested too deeply" if isinstance(exc, RecursionError) else reason(exc)


def _blocks(text: str) -> list[tuple[Any, str]]:
    """The lines of each key, in their order; those before the first belong to None."""
    lines = text.splitlines(keepends=True)
    root = yaml.compose(text, yaml.SafeLoader)
    keys = [key for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
    starts = [key.start_mark.line for key in keys]
    ends = [*starts[1:], len(lines)]
    head = [(None, "".join(lines[:starts[0]] if starts else lines))]
    return head + [(key.value, "".join(lines[start:end])) for key, start, end in zip(keys, starts, ends)]


def _trailing(block: str) -> str:
    """The comments at the end of the lines of a key, which belong to nothing or to the next one."""
    lines = block.splitlines(keepends=True)
    count = next((index for index, line in enumerate(reversed(lines)) if not COMMENT.fullmatch(line.rstrip("\r\n"))), 0)
    return "".join(lines[len(lines) - count:])


def _says(text: str, values: Mapping[Any, Any]) -> bool:
    try:
        return parse(text) == values
    except ReleaseError:
        return False


def _dumped(values: Mapping[Any, Any]) -> str:
    return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)) if values else ""
