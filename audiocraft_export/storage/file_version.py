"""What tells a file from another one, or from what it was before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

_COARSEST, _FINEST = 10**9, 10**3  # nanoseconds: of the disks that cut times; of a time in seconds as a float


def file_version(path: Path) -> Optional[tuple[int, int, int]]:
    """What tells a file from another one that takes its place; None where there is none.

    Args:
        path: of the file.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def same_mtime(one: int, other: int) -> bool:
    """Whether two times of a file, in nanoseconds, are one and the same.

    Disks, nodes and copies cut them, to microseconds or whole seconds: what the coarser of the two does not say does
    not count.
    """
    step = max(_resolution(one), _resolution(other))
    return abs(one - other) < _FINEST or one // step == other // step


def same_origin(one: Any, other: Any) -> bool:
    """Whether two descriptions in plain data are the same, but for how exactly they know the times of files in them.

    Args:
        one: of a manifest; every `mtime_ns` in it is such a time.
        other: of another one.
    """
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
