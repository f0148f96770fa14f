"""Identify a version of a file by inode, size and mtime."""

import os
from pathlib import Path
from typing import Any, Optional

_COARSEST, _FINEST = 10**9, 10**3  # nanoseconds: of disks that truncate times; of a time in seconds as a float


def file_version(path: Path) -> Optional[tuple[int, int, int]]:
    """Inode, size and mtime of a file; None if there is no file."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def same_mtime(one: int, other: int) -> bool:
    """Whether two mtimes of a file, in nanoseconds, are equal at the resolution of the coarser one.

    Disks, nodes and copies truncate them to microseconds or whole seconds.
    """
    step = max(_resolution(one), _resolution(other))
    return abs(one - other) < _FINEST or one // step == other // step


def same_origin(one: Any, other: Any) -> bool:
    """Whether plain data of two manifests is equal; every `mtime_ns` in it is compared by `same_mtime`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same_mtime(one[name], other[name]) if name == "mtime_ns" and _are_times(one[name], other[name])
            else same_origin(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_origin, one, other))
    return bool(one == other)


def _resolution(time: int) -> int:
    step = _COARSEST
    while step > 1 and time % step:
        step //= 10
    return step


def _are_times(*values: Any) -> bool:
    return all(isinstance(value, int) for value in values)
