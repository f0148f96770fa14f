"""Identify a version of a file by inode, size and mtime."""

import os
from pathlib import Path
from typing import Optional

FileVersion = tuple[int, int, int]  # inode, size and mtime in nanoseconds
_STEPS = [10**power for power in range(9, -1, -1)]  # nanoseconds: file systems and copies truncate times


def file_version(path: Path) -> Optional[FileVersion]:
    """Return inode, size and mtime of a file; None if it does not exist."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def same_mtime(one: int, other: int) -> bool:
    """Return whether two mtimes, in nanoseconds, are equal at the resolution of the coarser one."""
    if one == other:
        return True
    step = next(step for step in _STEPS if not one % step or not other % step)
    return bool(one // step == other // step)
