"""Identify a version of a file by inode, size and mtime."""

import os
from pathlib import Path
from typing import Any, Optional

_STEPS = [10**power for power in range(9, -1, -1)]  # nanoseconds: what disks, nodes and copies truncate times to
_FLOAT_STEP = 10**3  # nanoseconds: of a time in seconds as a float


def file_version(path: Path) -> Optional[tuple[int, int, int]]:
    """Inode, size and mtime of a file; None if there is no file."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def same_mtime(one: int, other: int) -> bool:
    """Whether two mtimes of a file, in nanoseconds, are equal at the resolution of the coarser one."""
    step = next(step for step in _STEPS if not one % step or not other % step)
    return abs(one - other) < _FLOAT_STEP or one // step == other // step


def same_origin(one: Any, other: Any, is_mtime: bool = False) -> bool:
    """Whether plain data of two manifests is equal.

    Every `mtime_ns` in it is compared by `same_mtime`; an `identity` only where both have one.
    """
    if is_mtime and isinstance(one, int) and isinstance(other, int):
        return same_mtime(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        unknown = {"identity"} & (one.keys() ^ other.keys())
        return one.keys() - unknown == other.keys() - unknown and all(
            same_origin(one[name], other[name], name == "mtime_ns") for name in one.keys() - unknown)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_origin, one, other))
    return bool(one == other)
