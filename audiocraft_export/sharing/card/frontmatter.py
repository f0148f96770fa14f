"""The YAML at the top of a card as text: a key is replaced, and all else stays as a person wrote it."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from ...errors import ReleaseError, reason
from ...experiment.config import YAML_ERRORS, is_slow_yaml
from .source import CARD_FILE

FENCED = re.compile(r"\A\s*---[ \t]*\r?\n((?:[^\n]*\n)*?)---[ \t]*(?:\r?\n|\Z)")
COMMENT = re.compile(r"\s*(#.*)?")


class _Loader(yaml.SafeLoader):
    """As `yaml.SafeLoader`, without aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _error(" has aliases of YAML (&, *)")
        return super().compose_node(parent, index)


def split_card(card: str) -> tuple[str, str]:
    """The YAML of a card, empty without any, and the text below it."""
    found = FENCED.match(card)
    return (found[1], card[found.end():]) if found else ("", card)


def parse(text: str) -> dict[Any, Any]:
    """The values in the YAML of a card.

    Raises:
        ReleaseError: if it is no mapping in YAML, takes long to read, or has aliases, which may stand for any amount.
    """
    if is_slow_yaml(text):
        raise _error(f", between its lines of ---, is no YAML of a card (too long or too deep: {len(text)} characters)")
    try:
        values = yaml.load(text, _Loader)
    except (*YAML_ERRORS, RecursionError) as exc:
        raise _error(f", between its lines of ---, is no YAML ({_describe(exc)})") from exc
    if not isinstance(values, (dict, type(None))):
        raise _error(", between its lines of ---, is no mapping of keys to values")
    return values or {}


def update(text: str, values: Mapping[Any, Any]) -> str:
    """The YAML of a card with these values; a key with the same value stays as it was written, with its comments."""
    before = parse(text)
    parts = [_replace(block, {key: values[key]}) if key in values and values[key] != before[key] else block
             for key, block in _blocks(text) if key is None or key in values]
    new = "".join([*parts, *(_dump({key: value}) for key, value in values.items() if key not in before)])
    with suppress(ReleaseError):
        if parse(new) == values:
            return new
    return _dump(values)


def _error(problem: str) -> ReleaseError:
    return ReleaseError(f"The front matter of {CARD_FILE}{problem}: correct it, or move that file away.")


def _describe(exc: Exception) -> str:
    """What is wrong, and in which line of the card."""
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark:
        return f"line {exc.problem_mark.line + 2}: {exc.problem}"
    return "it is nested too deeply" if isinstance(exc, RecursionError) else reason(exc)


def _blocks(text: str) -> list[tuple[Any, str]]:
    """The lines of each key, in their order; those before the first belong to None."""
    lines = text.splitlines(keepends=True)
    root = yaml.compose(text, yaml.SafeLoader)
    keys = [key for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
    starts = [*(key.start_mark.line for key in keys), len(lines)]
    blocks = ["".join(lines[start:end]) for start, end in zip([0, *starts], starts)]
    return list(zip([None, *(key.value for key in keys)], blocks))


def _replace(block: str, value: Mapping[Any, Any]) -> str:
    """The lines of a key with another value; comments at their end stay, since they may belong to the next key."""
    lines = block.splitlines(keepends=True)
    count = next((index for index, line in enumerate(reversed(lines)) if not COMMENT.fullmatch(line.rstrip("\r\n"))), 0)
    return _dump(value) + "".join(lines[len(lines) - count:])


def _dump(values: Mapping[Any, Any]) -> str:
    try:
        return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)) if values else ""
    except (ValueError, RecursionError) as exc:  # ValueError: a number of too many digits
        raise _error(f", between its lines of ---, cannot be written anew ({_describe(exc)})") from exc
