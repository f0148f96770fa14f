"""Interpolations in a configuration: what resolving them may reveal, run, or cost."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

INNERMOST = re.compile(r"\$\{([^{}]*)\}")
NAMES = re.compile(r"\$\{\s*(\.*)([^${}:\s]*)(?=(\$\{)?)")  # leading dots, a name, whether it goes on computed
NOT_RUN = "${resolver_is_not_run}"
MOST_STEPS, MOST_GOALS = 10_000, 500


def without_resolvers(value: Any, but: Collection[str] = ()) -> Any:
    """A copy of plain data in which what a resolver would compute (`${oc.env:USER}`) cannot be resolved.

    Args:
        value: the data.
        but: names of resolvers that may be run.
    """
    if isinstance(value, dict):
        return {key: without_resolvers(item, but) for key, item in value.items()}
    if isinstance(value, list):
        return [without_resolvers(item, but) for item in value]
    return NOT_RUN if isinstance(value, str) and not set(_resolvers(value)) <= set(but) else value


def is_endless(values: Any, key: str) -> bool:
    """Whether resolving a key may take so many steps that nobody waits for it, as where each text holds the next twice.

    Args:
        values: the whole configuration.
        key: dotted.
    """
    texts = [(path, text) for path, text in _texts(values) if "${" in text]
    try:
        return _Cost(texts).of(tuple(key.split("."))) > MOST_STEPS
    except RecursionError:
        return True


def references(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Which text refers to which value: the paths of both, with indices of lists; of a computed one as far as it is
    written, and then `**`.

    Args:
        value: plain data.
        path: where it stands.
    """
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from references(item, (*path, str(key)))
    for dots, name, computed in NAMES.findall(value) if isinstance(value, str) else ():
        written = _absolute(dots, name.rpartition(".")[0] if computed else name, path)
        yield path, (*filter(None, written), *(["**"] if computed else []))


class _Cost:
    """Counts the references that resolving takes; of one that is computed, no more is known than all that there are.

    Args:
        texts: those with interpolations, by their path.
    """

    def __init__(self, texts: list[tuple[tuple[str, ...], str]]) -> None:
        self._texts = texts
        self._known: dict[int, int] = {}
        self._looked = 0

    def of(self, goal: tuple[str, ...]) -> int:
        """The cost of all texts at a path, above it or below it."""
        self._looked += 1
        if self._looked > MOST_GOALS:
            return MOST_STEPS + 1
        return sum(self._of_text(index) for index, (path, _) in enumerate(self._texts)
                   if all(one == other for one, other in zip(goal, path)))

    def _of_text(self, index: int) -> int:
        if index not in self._known:
            self._known[index] = MOST_STEPS + 1  # if it leads back to itself
            path, text = self._texts[index]
            self._known[index] = min(MOST_STEPS + 1, sum(
                1 + (self._of_computed() if computed else self.of(_absolute(dots, name, path)))
                for dots, name, computed in NAMES.findall(text)))
        return self._known[index]

    def _of_computed(self) -> int:
        cost = 1
        for _, text in self._texts:
            cost *= text.count("${") if cost <= MOST_STEPS else 1
        return cost


def _absolute(dots: str, name: str, path: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(re.split(r"[.\[\]]+", name.strip("[].")))
    return (*path[:max(len(path) - len(dots), 0)], *names) if dots else names


def _texts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, path)
    elif isinstance(value, str):
        yield path, value


def _resolvers(text: str) -> Iterator[str]:
    """The names of the resolvers that a text calls, from the inside out; empty where one is computed."""
    found = INNERMOST.search(text)
    while found:
        name, colon, _ = found[1].partition(":")
        if colon:
            yield name
        text = text[:found.start()] + text[found.end():]
        found = INNERMOST.search(text)
    if "${" in text:
        yield ""
