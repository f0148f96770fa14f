"""Find private values (tokens, paths, names of users and machines) in data to be published."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ...errors import printable
from ..walk import KeyPath, items_of
from .detectors import TOKEN, TOKENS, KnownNames, find_in_text, is_secret_key, kind_by_key, mask, mask_tokens

MAX_SHOWN = 80  # characters of a value, so that a warning has one line per value
SECTION = object()  # placeholder for the value of a section, of which only the key is examined


@dataclass(frozen=True)
class Exposure:
    """A private value in the data of a release."""

    path: KeyPath = field(repr=False)  # keys and indices of the value; they may be tokens themselves
    kind: str  # a token, an e-mail address, an absolute path, a user name or a host name
    value: str  # the whole value, with tokens masked

    @property
    def key(self) -> str:
        """The dotted path, with tokens masked."""
        return mask_tokens(".".join(self.path))

    def __str__(self) -> str:
        return printable(f"`{self.key}` = {self.value} ({self.kind})")


def find_private_values(values: Any, names: Optional[KnownNames] = None) -> list[Exposure]:
    """Find the private values in plain data, such as a configuration or a manifest; each kind once per value.

    Interpolations (`${oc.env:USER}`) are never resolved here: only their text is searched.

    Args:
        names: names of users and machines to search for as well; None uses the names of this machine and its user.
    """
    leaves = list(_leaves(values))
    texts = [text for path, leaf in leaves for text in (leaf, *path[-1:]) if isinstance(text, str)]
    names = (KnownNames.of_this_machine() if names is None else names).with_home_owners(texts)
    arguments = {*_secret_arguments(leaves)}
    return [exposure for path, leaf in leaves for exposure in (
        [Exposure(path, TOKEN, mask(leaf))] if path in arguments else _in_leaf(path, leaf, names))]


def _secret_arguments(leaves: Sequence[tuple[KeyPath, Any]]) -> Iterator[KeyPath]:
    """Yield the paths of elements that are a token together with the flag before them, as `[--password, hunter2]`."""
    for (before, flag), (path, leaf) in zip(leaves, leaves[1:]):
        are_strings = isinstance(leaf, str) and isinstance(flag, str) and flag.startswith("-")
        if are_strings and before[:-1] == path[:-1] and before[-1].isdecimal() and path[-1].isdecimal() \
                and TOKENS.search(f"{flag} {leaf}") and not TOKENS.search(flag):
            yield path


def _in_leaf(path: KeyPath, leaf: Any, names: KnownNames) -> list[Exposure]:
    """Return the private values in a leaf and in its key, one for each kind."""
    names_in_path = [part for part in path if not part.isdecimal()]
    secret_sections = [name for name in names_in_path[:-2] if is_secret_key(name)]
    key = "_".join([*secret_sections, *names_in_path[-2:]])  # `wandb.key` is more specific than `key`
    kind = kind_by_key(key, leaf, "".join(names_in_path[-1:]))
    if kind == TOKEN:
        return [Exposure(path, kind, mask(str(leaf)))]
    texts = [text for text in (leaf, *path[-1:]) if isinstance(text, str)]
    kinds = dict.fromkeys([kind, *(found for text in texts for found, _ in find_in_text(text, names))])
    value = "..." if leaf is SECTION else mask_tokens(str(leaf))
    shown = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}..."
    return [Exposure(path, each, shown) for each in kinds if each]


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield (path, value) for each leaf, with bytes decoded, and (path, `SECTION`) for each section."""
    for name, _, item in items_of(value):
        yield from _leaves(item, (*path, name))
    if isinstance(value, (dict, list, tuple)):
        yield path, SECTION
    else:
        yield path, value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else value
