"""Patterns of keys of a configuration.

A pattern is a dotted key from the top (`optim.lr`; indices of lists are parts, as in `betas.0`). `*` stands for any
name or a part of one (`dataset.*.path`, `*_dir`), `**` between the dots for any number of names, none among them
(`**.path`, `conditioners.**.cache_path`). A section goes with all that is in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

KeyPath = tuple[str, ...]
END = "\0"  # of a name


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
    """What is in a section: its name in a path, its key, itself."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield str(key), key, item


def _regex(pattern: str) -> str:
    """A regular expression for a path, whose names are joined by END."""
    name, some = f"[^{END}]", f"(?:[^{END}]+{END})"
    *first, last = pattern.split(".")
    parts = [f"{some}*" if part == "**" else _of_name(part, name) + END for part in first]
    return "".join(parts) + (f"{some}*{name}+" if last == "**" else _of_name(last, name))


def _of_name(part: str, name: str) -> str:
    return f"{name}*".join(map(re.escape, part.split("*")))
