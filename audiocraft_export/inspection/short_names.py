"""Name experiments by the overrides that distinguish them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Optional


class YamlKeys:
    """The keys of a configuration, counted in its YAML: parsing it would take most of the time of `list`."""

    def __init__(self, text: str) -> None:
        self._text = f"\n{text}"

    def count(self, name: str) -> int:
        """Return how many keys of any level have a name."""
        return self._text.count(f" {name}:") + self._text.count(f"\n{name}:")


def short_names(lines: Sequence[Sequence[str]], groups: Optional[Sequence[object]] = None,
                configs: Iterable[YamlKeys] = ()) -> list[str]:
    """Return a short name for each command line: the overrides that not all of its group share, the rarest first.

    A key is cut to the fewest last parts that name only this key among all overrides and configurations.

    Args:
        lines: the overrides of each experiment.
        groups: the group of each command line, such as its solver; None is one group.
        configs: the keys of the configurations.
    """
    lines, groups = [_with_values(line) for line in lines], groups or [None] * len(lines)
    counts = Counter((group, arg) for group, line in zip(groups, lines) for arg in {*line})
    sizes = Counter(group for group, line in zip(groups, lines) if line)
    keys, known = {_key(arg) for _, arg in counts}, [*configs]

    @cache
    def is_unique(end: str) -> bool:
        same = [key for key in keys if f".{key}".endswith(f".{end}")]
        name = end.partition(".")[0]
        return len(same) == 1 and all(config.count(name) <= 1 for config in known)

    @cache
    def shorten(arg: str) -> str:
        key, equal, value = arg.partition("=")
        if not equal or key.startswith("-"):  # an argument of argparse
            return arg
        parts = key.split(".")
        ends = (".".join(parts[first:]) for first in range(len(parts) - 1, 0, -1))
        return f"{next(filter(is_unique, ends), key)}{equal}{value}"

    def distinguishing(group: object, line: Sequence[str]) -> list[str]:
        kept = [arg for arg in line if not counts[group, arg] == sizes[group] > 1]
        return sorted(kept, key=lambda arg: counts[group, arg])
    return [" ".join(map(shorten, distinguishing(group, line))) for group, line in zip(groups, lines)]


def _with_values(line: Sequence[str]) -> list[str]:
    """Join each flag of argparse with the values that follow it; a negative number is a value."""
    found: list[str] = []
    for arg in line:
        if found and re.match(r"-[^=\s]*(\s|$)", found[-1]) and not re.match(r"-(?![\d.])", arg):
            found[-1] += f" {arg}"
        else:
            found.append(arg)
    return found


def _key(arg: str) -> str:
    return arg.partition("=")[0].lstrip("+~")
