"""Walk through nested dicts, lists and tuples."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

KeyPath = tuple[str, ...]  # keys, and indices as strings


def items_of(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, key and value of each item of a mapping, list or tuple; the name is the key or index as a string."""
    if isinstance(value, Mapping):
        yield from ((str(key), key, item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(index), index, item) for index, item in enumerate(value))


def walk(value: Any, *path: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each leaf of nested data, in order, after its path of keys and indices."""
    if not isinstance(value, (Mapping, list, tuple)):
        yield path, value
    for _, key, item in items_of(value):
        yield from walk(item, *path, key)


def find(value: Any, path: Iterable[Any], default: Any = None) -> Any:
    """Return the value at a path of keys and indices in nested dicts and lists; `default` if it is missing."""
    for key in path:
        exists = isinstance(value, dict) and key in value \
            or isinstance(value, list) and isinstance(key, int) and key < len(value)
        if not exists:
            return default
        value = value[key]
    return value
