"""Walk through nested dicts, lists and tuples."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

KeyPath = tuple[str, ...]  # keys, and indices as text


def walk(value: Any, *path: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The leaves of nested data, in order, each with the path of keys and indices that leads to it."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        yield path, value
        return
    for key, item in items:
        yield from walk(item, *path, key)
