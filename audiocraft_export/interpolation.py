"""Interpolations in a configuration: what resolving them may reveal, run, or cost."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

INNERMOST = re.compile(r"\$\{([^{}]*)\}")
NAMES = re.compile(r"\$\{\s*(\.*)([\w.-]*)")
NOT_RUN = "${resolver_is_not_run}"
MOST_STEPS, MOST_GOALS = 10_000, 100


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

    An upper bound: the number of references in every text that can be reached, multiplied.

    Args:
        values: the whole configuration.
        key: dotted.
    """
    texts = [(path, text) for path, text in _texts(values) if "${" in text]
    steps, goals = 1, [("", key)]
    for count, goal in enumerate(goals):  # which grow meanwhile
        reached = [(path, text) for path, text in texts if _may_mean(goal, path)]
        texts = [entry for entry in texts if not _may_mean(goal, entry[0])] if reached else texts
        for _, text in reached:
            steps *= text.count("${")
            goals += NAMES.findall(text)
        if steps > MOST_STEPS or count > MOST_GOALS:
            return True
    return False


def _may_mean(goal: tuple[str, str], path: tuple[str, ...]) -> bool:
    """Whether a reference (its leading dots, its name) leads to what stands at a path, above or below it."""
    dots, name = goal
    names = tuple(name.split("."))
    if dots or not name:  # a relative one, or one that is computed
        return not name or names[-1] in path
    return all(one == other for one, other in zip(names, path))


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
