"""Identify a version of a file by inode, size and mtime."""

import os
from pathlib import Path
from typing import Optional

_STEPS = [10**power for power in range(9, -1, -1)]  # nanoseconds: what disks, nodes and copies truncate times to


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
    return bool(one // step == other // step)
