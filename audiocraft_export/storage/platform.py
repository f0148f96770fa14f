"""Functions of the system that some systems lack, or have in another way."""

import math
import os
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Callable, Optional, Union

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # constants of renameat2 on Linux
_RENAME_SWAP = 2  # constant of renamex_np on macOS
_KEPT_BYTES = 3 << 20  # about the size of the chunks that are in memory at the same time
_PROCESS_IO = Path("/proc/self/io")  # on Linux
Exchange = Callable[[Path, Path], int]  # returns 0, or the number of the error

_seek_lock = Lock()


def open_binary(path: Union[str, "os.PathLike[str]"]) -> int:
    """Open a file for reading, and return its descriptor.

    Raises:
        OSError: if the file cannot be opened; on Windows also for a folder.
    """
    # Opening a pipe must not block; Windows would translate newlines.
    return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))


def read_at(descriptor: int, nbytes: int, position: int) -> bytes:
    """Read up to `nbytes` bytes at a position; several threads may read from one file.

    Raises:
        OSError: if the file cannot be read.
    """
    if hasattr(os, "pread"):
        data: bytes = os.pread(descriptor, nbytes, position)
        return data
    with _seek_lock:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, nbytes)


def drop_cache(descriptor: int, begin: int = 0, nbytes: int = 0) -> None:
    """Advise the system to drop a range of a file from its cache, up to the end of the file if `nbytes` is 0.

    Linux drops what is on the disk, and starts to write what is not, without blocking. Other systems do nothing.
    """
    if sys.platform == "linux" and hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(descriptor, begin, nbytes, os.POSIX_FADV_DONTNEED)


def bytes_read_from_disks() -> int:
    """Return how many bytes all threads of this process have read from disks; 0 if the system does not count them."""
    try:
        counters = dict(line.split(": ") for line in _PROCESS_IO.read_text().splitlines())
        return int(counters["read_bytes"])
    except (OSError, ValueError, KeyError):
        return 0


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to `_KEPT_BYTES` of freed memory for the next chunks, if its C library is glibc.

    glibc returns memory beyond a limit to the system, which clears each page before it is used again. Freeing a block
    raises the limit to twice its size. Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    bytearray(_KEPT_BYTES // 2)


def copy_owner(found: os.stat_result, path: Path) -> None:
    """Give a file or folder the owner and group of another one, if the system has owners and permits it."""
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(path, found.st_uid, found.st_gid)


def free_space(folder: Path) -> float:
    """Return the free space of a disk in bytes; infinity if it is unknown."""
    try:
        disk = shutil.disk_usage(folder)
    except AttributeError:  # the system has no call for it
        return math.inf
    return disk.free if disk.total else math.inf


def is_running(process: int) -> Optional[bool]:
    """Return whether a process of this machine exists; None if the system cannot tell."""
    if os.name != "posix":  # os.kill of Windows would end the process
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process exists and belongs to another user
        pass
    return True


def folder_exchange() -> Optional[Exchange]:
    """Return a function that exchanges two folders atomically; None if the system has none.

    Source: renameat2(2) of Linux, renamex_np(2) of macOS.
    """
    if os.name != "posix":
        return None
    import ctypes  # slow, and needed only where a release is replaced
    libc = ctypes.CDLL(None, use_errno=True)

    def on_linux(one: Path, other: Path) -> int:
        paths = _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other)
        return int(libc.renameat2(*paths, _RENAME_EXCHANGE) and ctypes.get_errno())

    def on_macos(one: Path, other: Path) -> int:
        return int(libc.renamex_np(os.fsencode(one), os.fsencode(other), _RENAME_SWAP) and ctypes.get_errno())
    if hasattr(libc, "renameat2"):
        return on_linux
    return on_macos if hasattr(libc, "renamex_np") else None
