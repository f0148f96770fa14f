"""Match patterns of keys of a configuration.

A pattern is a dotted key from the top (`optim.lr`; indices of lists are parts, as in `betas.0`). `*` stands for any
name or a part of one (`dataset.*.path`, `*_dir`), `**` between the dots for any number of names, none among them
(`**.path`, `conditioners.**.cache_path`). A section goes with all that is in it.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from ..walk import KeyPath

END = "\0"  # of a name
CHARACTER, NAME = f"[^{END}]", f"(?:[^{END}]+{END})"


def matches(values: Any, patterns: Collection[str]) -> Iterator[KeyPath]:
    """The topmost paths of plain data that patterns match."""
    fits = re.compile("|".join(map(_regex, patterns)), re.DOTALL).fullmatch
    todo: list[tuple[KeyPath, Any]] = [((), values)]
    while todo:
        path, value = todo.pop()
        if path and fits(END.join(path)):
            yield path
        else:
            todo += [((*path, name), item) for name, _, item in items_of(value)]


def items_of(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name in a path, key and value of each item of a section or a list; none of anything else."""
    if isinstance(value, dict):
        yield from ((str(key), key, item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(index), index, item) for index, item in enumerate(value))


def _regex(pattern: str) -> str:
    """A regular expression for a path, whose names are joined by END."""
    *first, last = pattern.split(".")
    parts = [f"{NAME}*" if part == "**" else _name_regex(part) + END for part in first]
    return "".join(parts) + (f"{NAME}*{CHARACTER}+" if last == "**" else _name_regex(last))


def _name_regex(part: str) -> str:
    return f"{CHARACTER}*".join(map(re.escape, part.split("*")))
