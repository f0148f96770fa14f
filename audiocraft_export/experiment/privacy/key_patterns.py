"""Patterns of keys of a configuration.

A pattern is a dotted key from the top (`optim.lr`; indices of lists are parts, as in `betas.0`). `*` stands for any
name or a part of one (`dataset.*.path`, `*_dir`), `**` between the dots for any number of names, none among them
(`**.path`, `conditioners.**.cache_path`). A section goes with all that is in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ...errors import OptionError

KeyPath = tuple[str, ...]
PUBLIC = "public"
PRESETS: Mapping[str, tuple[str, ...]] = {
    PUBLIC: ("cache", "conditioners.**.cache_path", "conditioners.**.eval_wavs", "continue_from", "datasource", "dora",
             "generate.path", "hydra", "label", "logging", "slurm", "tensorboard", "wandb"),
}
KEY_PART = re.compile(r"\*\*|(?!\*\*)(?:[^\s.,*\[\]{}$]|\*(?!\*))+")
END = "\0"  # of a name


def expand_presets(scrub: Sequence[str]) -> tuple[str, ...]:
    """The patterns of an option, with presets replaced by theirs, each once.

    Raises:
        OptionError: if one is no pattern, and could never match.
    """
    if not isinstance(scrub, (list, tuple)) or not all(isinstance(each, str) for each in scrub):
        raise OptionError(f"scrub={scrub!r} is no option: it takes a list of patterns, as in [{PUBLIC}, optim.*].")
    for each in scrub:
        if not all(KEY_PART.fullmatch(part) for part in each.split(".")):
            raise OptionError(f"scrub={each!r} is no pattern: it takes a dotted key, with * for a name or a part of "
                              f"one and ** between dots for any number of names, or the preset {', '.join(PRESETS)}.")
        near = get_close_matches(each.lower(), PRESETS, 1, 0.8) if each not in PRESETS else []
        if near:
            raise OptionError(f"scrub={each!r} is no preset: did you mean {near[0]}?")
    return tuple(dict.fromkeys(pattern for each in scrub for pattern in PRESETS.get(each, (each,))))


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
