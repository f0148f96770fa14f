"""Find private values (tokens, paths, names of users and machines) in data to be published."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Optional

from ...errors import printable
from ..walk import KeyPath, items_of
from .detectors import TOKEN, KnownNames, find_in_text, kind_by_key, mask, mask_tokens

MAX_SHOWN = 80  # characters of a value: a warning has one line for each
SECTION = object()  # stands for the values of a section where only its key is looked at


@dataclass(frozen=True)
class Exposure:
    """A private value in what is released."""

    path: KeyPath = field(repr=False)  # the keys and indices that lead to it; may be a token itself
    kind: str  # a token, an e-mail address, an absolute path, a user name or a host name
    value: str  # it, or the value that it is in; tokens are masked

    @property
    def key(self) -> str:
        """The path, dotted."""
        return mask_tokens(".".join(self.path))

    def __str__(self) -> str:
        return printable(f"`{self.key}` = {self.value} ({self.kind})")


def find_private_values(values: Any, names: Optional[KnownNames] = None) -> list[Exposure]:
    """Find what plain data, such as a configuration or a manifest, would expose, each kind once for each value.

    An interpolation (`${oc.env:USER}`) exposes no more than what is written in it: it is never resolved here. Names are
    looked for as well; None is those of this machine and of its user.
    """
    leaves = list(_leaves(values))
    texts = [text for path, leaf in leaves for text in (leaf, *path[-1:]) if isinstance(text, str)]
    names = (KnownNames.of_this_machine() if names is None else names).with_home_owners(texts)
    return [exposure for path, leaf in leaves for exposure in _in_leaf(path, leaf, names)]


def _in_leaf(path: KeyPath, leaf: Any, names: KnownNames) -> list[Exposure]:
    names_in_path = [part for part in path if not part.isdecimal()]
    key = "_".join(names_in_path[-2:])  # `wandb.key` says more than `key`
    kind = kind_by_key(key, leaf, "".join(names_in_path[-1:]))
    if kind == TOKEN:
        return [Exposure(path, kind, mask(str(leaf)))]
    texts = [text for text in (leaf, *path[-1:]) if isinstance(text, str)]
    kinds = dict.fromkeys([kind, *(found for text in texts for found, _ in find_in_text(text, names))])
    value = "..." if leaf is SECTION else mask_tokens(str(leaf))
    shown = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}..."
    return [Exposure(path, each, shown) for each in kinds if each]


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Path and value of each leaf, bytes as text, and of each section, of which only the key may say something."""
    for name, _, item in items_of(value):
        yield from _leaves(item, (*path, name))
    if isinstance(value, (dict, list, tuple)):
        yield path, SECTION
    else:
        yield path, value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else value
