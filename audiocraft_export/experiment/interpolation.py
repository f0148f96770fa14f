"""Interpolations in a configuration: what resolving them may reveal, run, or cost."""

import re
from collections.abc import Collection, Iterator
from math import prod
from operator import eq
from typing import Any

from .limits import MAX_RESOLVE_GOALS, MAX_RESOLVE_STEPS
from .walk import KeyPath, walk

INNERMOST = re.compile(r"\$\{([^{}]*)\}")
REFERENCE = re.compile(r"\$\{\s*(\.*)([^${}:\s]*)(?=(\$\{)?)")  # leading dots, a name, whether it goes on computed
NOT_RUN = "${resolver_is_not_run}"
ENDLESS = MAX_RESOLVE_STEPS + 1


def without_resolvers(value: Any, but: Collection[str] = ()) -> Any:
    """Copy plain data so that no resolvers (`${oc.env:USER}`) `but` the named ones can be run in the copy."""
    if isinstance(value, dict):
        return {key: without_resolvers(item, but) for key, item in value.items()}
    if isinstance(value, list):
        return [without_resolvers(item, but) for item in value]
    return NOT_RUN if isinstance(value, str) and not set(_resolvers(value)) <= set(but) else value


def is_endless(values: Any, key: str) -> bool:
    """Whether resolving a dotted key may take too many steps, as where each string holds the next one twice."""
    try:
        return _CostEstimator(values).of_key(tuple(key.split("."))) >= ENDLESS
    except RecursionError:
        return True


def references(values: Any) -> Iterator[tuple[KeyPath, KeyPath]]:
    """The paths of each string that refers to another value, and of that value.

    The path of a reference that is partly computed ends with `**` where the computed part begins.
    """
    for path, text in _strings(values):
        for dots, name, computed in REFERENCE.findall(text):
            written = _absolute(dots, name.rpartition(".")[0] if computed else name, path)
            yield path, tuple(filter(None, (*written, "**" if computed else "")))


def _strings(values: Any) -> Iterator[tuple[KeyPath, str]]:
    for path, leaf in walk(values):
        if isinstance(leaf, str):
            yield tuple(map(str, path)), leaf


class _CostEstimator:
    """Estimate how many interpolations resolving a key takes; one that is computed may refer to any other."""

    def __init__(self, values: Any) -> None:
        self._texts = [(tuple(map(_normalize_index, path)), text) for path, text in _strings(values) if "${" in text]
        self._cost_of_computed = min(prod(text.count("${") for _, text in self._texts), ENDLESS)
        self._costs: dict[int, int] = {}
        self._goals = 0

    def of_key(self, goal: KeyPath) -> int:
        """The cost of all strings at a path, above it or below it."""
        self._goals += 1
        if self._goals > MAX_RESOLVE_GOALS:
            return ENDLESS
        goal = tuple(map(_normalize_index, goal))
        return sum(self._of_text(index) for index, (path, _) in enumerate(self._texts) if all(map(eq, goal, path)))

    def _of_text(self, index: int) -> int:
        if index not in self._costs:
            self._costs[index] = ENDLESS  # if it leads back to itself
            path, text = self._texts[index]
            cost = sum(1 + (self._cost_of_computed if computed else self.of_key(_absolute(dots, name, path)))
                       for dots, name, computed in REFERENCE.findall(text))
            self._costs[index] = min(cost, ENDLESS)
        return self._costs[index]


def _absolute(dots: str, name: str, path: KeyPath) -> KeyPath:
    """The path of a reference as it is written in the string at `path`; leading dots make it relative to that."""
    names = tuple(re.split(r"[.\[\]]+", name.strip("[].")))
    return (*path[:max(len(path) - len(dots), 0)], *names) if dots else names


def _normalize_index(name: str) -> str:
    """An index as OmegaConf reads it: `${list[00]}` is `${list.0}`."""
    try:
        return str(int(name))
    except ValueError:
        return name


def _resolvers(text: str) -> Iterator[str]:
    """The names of the resolvers that a string calls, from the inside out; empty where one is computed."""
    while found := INNERMOST.search(text):
        name, colon, _ = found[1].partition(":")
        if colon:
            yield name
        text = text[:found.start()] + text[found.end():]
    if "${" in text:
        yield ""
