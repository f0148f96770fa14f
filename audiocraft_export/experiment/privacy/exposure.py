"""What of a release would be published with it that is nobody else's business, by where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Optional

from ...errors import printable
from .detectors import TOKEN, Names, cut, found_in, kind_by_key, masked

MOST_SHOWN = 80  # characters of a value
ASSIGNED = re.compile(r"(?<![\w.-])([A-Za-z][\w.-]{0,99})[\"'`]?\s{0,9}[:=]\s{0,9}[\"'`]?([^\s\"'`,]+)")


@dataclass(frozen=True)
class Exposure:
    """Something private in what is released.

    Args:
        path: where it stands: keys and indices, or the name of a file and a line.
        kind: what it is: a token, an e-mail address, an absolute path, a user name or a host name.
        value: it, or the value that it is in; tokens are masked.
    """

    path: tuple[str, ...] = field(repr=False)  # may be a token itself
    kind: str
    value: str

    @property
    def key(self) -> str:
        """Where it stands, dotted."""
        return masked(".".join(self.path))

    def __str__(self) -> str:
        return printable(f"`{self.key}` = {self.value} ({self.kind})")


def find_private_values(values: Any, names: Optional[Names] = None) -> list[Exposure]:
    """What plain data, such as a configuration or a manifest, would expose, each kind once for each value.

    An interpolation (`${oc.env:USER}`) exposes no more than what is written in it: it is never resolved here.

    Args:
        values: dicts, lists, texts and numbers.
        names: to look for as well; None is those of this machine and of its user.
    """
    leaves = list(_leaves(values))
    names = (Names.of_this_machine() if names is None else names).and_of_homes(
        leaf for _, leaf in leaves if isinstance(leaf, str))
    return [exposure for path, leaf in leaves for exposure in _in_leaf(path, leaf, names)]


def exposed_in_text(name: str, text: str, names: Optional[Names] = None) -> list[Exposure]:
    """What a text, such as a model card, would expose, each thing once for each line.

    Args:
        name: of its file.
        text: what stands in it.
        names: as for `exposed`.
    """
    names = (Names.of_this_machine() if names is None else names).and_of_homes([text])
    return list(dict.fromkeys(exposure for number, line in enumerate(text.splitlines(), 1)
                              for exposure in _in_line((f"{name}:{number}",), line, names)))


def _in_leaf(path: tuple[str, ...], leaf: Any, names: Names) -> Iterator[Exposure]:
    kind = kind_by_key(_key_of(path), leaf)
    if kind == TOKEN:
        yield Exposure(path, kind, cut(str(leaf)))
        return
    kinds = [kind] if kind else []
    for text in (leaf, path[-1] if path else ""):
        kinds += [found for found, _ in found_in(text, names)] if isinstance(text, str) else []
    for each in dict.fromkeys(kinds):
        yield Exposure(path, each, _shown(masked(str(leaf))))


def _in_line(path: tuple[str, ...], line: str, names: Names) -> Iterator[Exposure]:
    for key, value in ASSIGNED.findall(line):
        if kind_by_key(key, value) == TOKEN:
            line = line.replace(value, " ")
            yield Exposure(path, TOKEN, cut(value))
    for kind, found in found_in(line, names):
        yield Exposure(path, kind, cut(found) if kind == TOKEN else _shown(found))


def _key_of(path: tuple[str, ...]) -> str:
    """The last two keys that are names, and no indices: `wandb.key` says more than `key`."""
    return "_".join([part for part in path if not part.isdecimal()][-2:])


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else None
    if items is None or not value:
        yield path, None if items is not None else value
    for key, item in items or ():
        yield from _leaves(item, (*path, str(key)))


def _shown(value: str) -> str:
    return value if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]}..."
