"""Create staging folders, which a release is written to before it is moved into place, and remove stale ones.

Their names, `.export-<machine>-<process ID>-<start time of the process>-<random token>`, identify the process that owns
them, so that no lock is needed to find the folders of dead processes.
"""

import errno
import os
import platform
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Optional

from .platform import copy_owner, is_running

MAX_UNKNOWN_AGE = 24 * 3600  # seconds; the owner of an older folder is assumed to be dead if that cannot be found out
_FEW_ENTRIES = 1000  # a folder with more entries is not scanned for stale staging folders each time
STAGED = "staged"  # temporary name of a single file in a staging folder
BACKUP = "previous"  # subfolder of a staging folder, with the files of the previous release
Owns = Callable[[str], bool]  # returns whether a file name is that of a release file; such files may be removed

_scans_to_skip: dict[Path, int] = {}


def _machine() -> str:
    """Identify this machine, its boot and its PID namespace: machines that share a disk may have the same host name."""
    processes = boot = ""
    with suppress(OSError):
        processes = os.readlink("/proc/self/ns/pid")
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
    return re.sub(r"\W+", "_", f"{platform.node()[:64]} {processes} {boot}").strip("_")


MACHINE = _machine()
STAGING_NAME = re.compile(r"\.export-(?P<machine>\w+)-(?P<process>\d{1,9})-(?P<began>\d{1,20})-[0-9a-f]{8}")


def staging_parent(folder: Path) -> Path:
    """Return the folder to create the staging folder in: the parent of the release folder, so that one rename suffices.

    It is the release folder itself if that is a mount point, if the parent is not writable, or if the release folder is
    the current folder of this process: a shell in it would be left in a removed folder.
    """
    parent = folder.parent
    if not os.path.isdir(folder):
        return parent
    usable = all(os.access(each, os.R_OK | os.W_OK | os.X_OK) for each in (folder, parent))
    return parent if usable and not _is_mounted(folder) and not _is_cwd(folder) else folder


@contextmanager
def staging(home: Path, owns: Owns, like: Optional[Path] = None) -> Iterator[Path]:
    """Create a staging folder, which is removed when the block ends.

    Args:
        home: its parent, created if it is missing; if so, it is removed after a failure.
        owns: as in `discard`.
        like: an existing folder whose owner, permissions and attributes are copied.

    Yields:
        The staging folder.

    Raises:
        OSError: if it cannot be created.
    """
    made = [folder for folder in (home, *home.parents) if not os.path.exists(folder)]
    stage = home / f".export-{MACHINE}-{os.getpid()}-{_start_time(os.getpid()) or 0}-{secrets.token_hex(4)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        remove_stale(owns, home)
        stage.mkdir()
        if like is not None and os.path.isdir(like):
            found = os.stat(like)
            copy_owner(found, stage)
            shutil.copystat(like, stage)
        yield stage
        for folder in made:
            fsync_folder(folder.parent)
        made = []
    finally:
        try:
            discard(stage, owns)
        finally:  # repeated, in case a signal has interrupted the first attempt
            discard(stage, owns)
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()


def discard(stage: Path, owns: Owns) -> None:
    """Remove release files and hard links from a staging folder, and the folder if that leaves it empty.

    Args:
        stage: the staging folder.
        owns: returns whether a file of this name may belong to a release.
    """
    with suppress(OSError):
        for entry in [*os.scandir(stage)]:
            if entry.name == BACKUP:
                discard(Path(entry.path), lambda _: True)
            elif entry.is_dir(follow_symlinks=False):
                continue  # files of a previous release that could not be restored
            elif entry.name == STAGED or owns(entry.name) or entry.stat(follow_symlinks=False).st_nlink > 1:
                # Files of the user are here only as hard links, before the folders are exchanged.
                os.unlink(entry.path)
        os.rmdir(stage)


def remove_stale(owns: Owns, *homes: Path) -> None:
    """Remove the staging folders of dead processes.

    A folder with thousands of entries is not scanned each time: that would take longer than the exports.
    """
    for home in homes:
        with suppress(OSError):
            for name in _entries_to_scan(home):
                owner = STAGING_NAME.fullmatch(name)
                if owner is not None and _is_stale(home / name, owner):
                    discard(home / name, owns)


def will_be_removed(path: Path) -> bool:
    """Return whether a path is a staging folder that its process, or the next export, removes."""
    owner = STAGING_NAME.fullmatch(path.name)
    return owner is not None and (owner["machine"] == MACHINE or _is_stale(path, owner))


def fsync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, if the system supports it and the permissions allow it.

    Windows does not: it refuses to open a folder.

    Raises:
        OSError: if the disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _entries_to_scan(home: Path) -> list[str]:
    """Return the names in a folder; empty for most calls if the folder has very many entries."""
    skips = _scans_to_skip.pop(home, 0)
    if skips:
        _scans_to_skip[home] = skips - 1
        return []
    names = os.listdir(home)
    if len(names) > _FEW_ENTRIES:
        _scans_to_skip[home] = len(names) // 10
    return names


def _is_stale(stage: Path, owner: re.Match[str]) -> bool:
    """Return whether the process that owns a staging folder has ended; the age decides if that is unknown."""
    try:
        found = os.lstat(stage)
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if owner["machine"] == MACHINE:
        now, then = _start_time(int(owner["process"])), int(owner["began"])
        if now is None or 0 not in (now, then):
            return now != then
    return found.st_mtime + MAX_UNKNOWN_AGE < time.time()


def _start_time(process: int) -> Optional[int]:
    """Return the start time of a process in clock ticks: 0 if unknown, None if the process does not exist."""
    with suppress(OSError, ValueError, IndexError):
        state, *fields = Path(f"/proc/{process}/stat").read_text("latin-1").rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    return None if is_running(process) is False else 0


def _is_mounted(folder: Path) -> bool:
    """Return whether a folder is a mount point; os.path.ismount misses bind mounts of the same disk."""
    mounts = []
    with suppress(OSError):
        mounts = [line.split()[4] for line in os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).splitlines()]
    return os.path.ismount(folder) or str(folder) in {
        re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mount) for mount in mounts}


def _is_cwd(folder: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(folder, os.getcwd())
    return False
