"""Analyze the interpolations of a configuration: the resolvers they run, the keys they refer to, and their cost."""

import re
from collections.abc import Collection, Iterator
from math import prod
from operator import eq
from typing import Any

from .limits import MAX_RESOLVE_GOALS, MAX_RESOLVE_STEPS
from .walk import KeyPath, walk

INNERMOST = re.compile(r"\$\{([^{}]*)\}")
REFERENCE = re.compile(r"\$\{\s*(\.*)([^${}:\s]*)(?=(\$\{)?)")  # leading dots, a name, `${` if the rest is computed
NOT_RUN = "${resolver_is_not_run}"
ENDLESS = MAX_RESOLVE_STEPS + 1


def without_resolvers(value: Any, allowed: Collection[str] = ()) -> Any:
    """Copy plain data, replacing each string that calls a resolver (`${oc.env:USER}`) other than the allowed ones."""
    if isinstance(value, dict):
        return {key: without_resolvers(item, allowed) for key, item in value.items()}
    if isinstance(value, list):
        return [without_resolvers(item, allowed) for item in value]
    return NOT_RUN if isinstance(value, str) and not set(_resolvers(value)) <= set(allowed) else value


def is_endless(values: Any, key: str) -> bool:
    """Return whether resolving a dotted key may take too many steps, as with nested references to other keys."""
    try:
        return _CostEstimator(values).of_key(tuple(key.split("."))) >= ENDLESS
    except RecursionError:
        return True


def references(values: Any) -> Iterator[tuple[KeyPath, KeyPath]]:
    """Yield the path of each string that refers to another value, and the path of that value.

    If a reference is partly computed, its path ends with `**` where the computed part begins.
    """
    for path, text in _strings(values):
        for dots, name, computed in REFERENCE.findall(text):
            written = _absolute(dots, name.rpartition(".")[0] if computed else name, path)
            yield path, tuple(filter(None, (*written, "**" if computed else "")))


def _strings(values: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield path and text of each string in plain data."""
    for path, leaf in walk(values):
        if isinstance(leaf, str):
            yield tuple(map(str, path)), leaf


class _CostEstimator:
    """Estimate how many interpolations are resolved for a key; a computed interpolation may refer to any string."""

    def __init__(self, values: Any) -> None:
        self._texts = [(tuple(map(_normalize_index, path)), text) for path, text in _strings(values) if "${" in text]
        self._cost_of_computed = min(prod(text.count("${") for _, text in self._texts), ENDLESS)
        self._costs: dict[int, int] = {}
        self._goals = 0

    def of_key(self, goal: KeyPath) -> int:
        """Return the cost of all strings at, above and below a path."""
        self._goals += 1
        if self._goals > MAX_RESOLVE_GOALS:
            return ENDLESS
        goal = tuple(map(_normalize_index, goal))
        return sum(self._of_text(index) for index, (path, _) in enumerate(self._texts) if all(map(eq, goal, path)))

    def _of_text(self, index: int) -> int:
        """Return the cost of one string, by its index."""
        if index not in self._costs:
            self._costs[index] = ENDLESS  # used if the string refers to itself
            path, text = self._texts[index]
            cost = sum(1 + (self._cost_of_computed if computed else self.of_key(_absolute(dots, name, path)))
                       for dots, name, computed in REFERENCE.findall(text))
            self._costs[index] = min(cost, ENDLESS)
        return self._costs[index]


def _absolute(dots: str, name: str, path: KeyPath) -> KeyPath:
    """Return the absolute path of a reference in the string at `path`; leading dots make a reference relative."""
    names = tuple(re.split(r"[.\[\]]+", name.strip("[].")))
    return (*path[:max(len(path) - len(dots), 0)], *names) if dots else names


def _normalize_index(name: str) -> str:
    """Normalize an index as OmegaConf does: `${list[00]}` is `${list.0}`."""
    try:
        return str(int(name))
    except ValueError:
        return name


def _resolvers(text: str) -> Iterator[str]:
    """Yield the names of the resolvers that a string calls, innermost first; an empty name if a name is computed."""
    while found := INNERMOST.search(text):
        name, colon, _ = found[1].partition(":")
        if colon:
            yield name
        text = text[:found.start()] + text[found.end():]
    if "${" in text:
        yield ""
