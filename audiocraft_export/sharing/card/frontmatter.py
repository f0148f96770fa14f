"""Edit the YAML front matter of a card as text, so that unchanged keys and comments are kept verbatim."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from ...errors import ReleaseError
from ...experiment.config import YAML_ERRORS, describe_yaml_error, is_slow_yaml
from ...release.manifest import CARD_FILE

FENCED = re.compile(r"\A\s*---[ \t]*\r?\n((?:[^\n]*\n)*?)---[ \t]*(?:\r?\n|\Z)")
COMMENT = re.compile(r"\s*(#.*)?")


class _Loader(yaml.SafeLoader):
    """A `yaml.SafeLoader` that refuses aliases, which can expand without limit."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _error("has YAML aliases (&, *), which are not supported")
        return super().compose_node(parent, index)


def split_card(card: str) -> tuple[str, str]:
    """Split a card into its YAML front matter (or an empty string) and the text below."""
    found = FENCED.match(card)
    return (found[1], card[found.end():]) if found else ("", card)


def parse(text: str) -> dict[Any, Any]:
    """Parse the YAML front matter of a card.

    Raises:
        ReleaseError: if the text is not a YAML mapping, is too large, or has aliases, which can expand without limit.
    """
    if is_slow_yaml(text):
        raise _error(f"is too large or too deeply nested ({len(text):,} characters)")
    try:
        values = yaml.load(text, _Loader)
    except (*YAML_ERRORS, RecursionError) as exc:
        raise _error(f"is not valid YAML ({_describe(exc)})") from exc
    if not isinstance(values, (dict, type(None))):
        raise _error("is not a mapping of keys to values")
    return values or {}


def update(text: str, values: Mapping[Any, Any]) -> str:
    """Return the front matter with new values; keys whose value is unchanged keep their text and comments.

    Raises:
        ReleaseError: if the front matter is invalid.
    """
    before = parse(text)
    parts = [_replace(block, {key: values[key]}) if key in values and values[key] != before[key] else block
             for key, block in _blocks(text) if key is None or key in values]
    new = "".join([*parts, *(_dump({key: value}) for key, value in values.items() if key not in before)])
    with suppress(ReleaseError):
        if parse(new) == values:
            return new
    return _dump(values)


def _error(problem: str) -> ReleaseError:
    return ReleaseError("invalid-card", f"{CARD_FILE}: the front matter {problem}", "correct it or move the file away")


def _describe(exc: Exception) -> str:
    """Describe a YAML error with its line in the card."""
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark:
        return f"line {exc.problem_mark.line + 2}: {exc.problem}"
    return "too deeply nested" if isinstance(exc, RecursionError) else describe_yaml_error(exc)


def _blocks(text: str) -> list[tuple[Any, str]]:
    """Split the front matter into the lines of each key; lines before the first key have the key None."""
    lines = text.splitlines(keepends=True)
    root = yaml.compose(text, yaml.SafeLoader)
    keys = [key for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
    starts = [*(key.start_mark.line for key in keys), len(lines)]
    blocks = ["".join(lines[start:end]) for start, end in zip([0, *starts], starts)]
    return list(zip([None, *(key.value for key in keys)], blocks))


def _replace(block: str, value: Mapping[Any, Any]) -> str:
    """Return the lines of a key with a new value; trailing comments are kept, since they may belong to the next key."""
    lines = block.splitlines(keepends=True)
    count = next((index for index, line in enumerate(reversed(lines)) if not COMMENT.fullmatch(line.rstrip("\r\n"))), 0)
    return _dump(value) + "".join(lines[len(lines) - count:])


def _dump(values: Mapping[Any, Any]) -> str:
    try:
        return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)) if values else ""
    except (ValueError, RecursionError) as exc:  # ValueError: a number with too many digits
        raise _error(f"cannot be written as YAML ({_describe(exc)})") from exc
