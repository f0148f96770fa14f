"""Staging folders: a release is written into one, then moved into place; those of dead processes are removed.

`.export-<machine>-<process>-<its start time>-<token>`: the name identifies the owner, so that no lock is needed.
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

MAX_REMOTE_AGE = 24 * 3600  # seconds; the process of an older folder of another machine is taken for dead
_FEW_ENTRIES = 1000  # a folder with more is not scanned for stale ones each time
STAGED = "staged"  # the name of a single file until it is complete
BACKUP = "former"  # folder in a staging folder, for the files of the previous release
Owns = Callable[[str], bool]  # whether a file of this name is one of a release, and may be removed

_scans_to_skip: dict[Path, int] = {}


def _machine() -> str:
    """Identify this machine, its boot and its PID namespace: machines on one shared disk may have the same name."""
    processes = boot = ""
    with suppress(OSError):
        processes = os.readlink("/proc/self/ns/pid")
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return re.sub(r"\W+", "_", f"{platform.node()[:64]} {processes} {boot}").strip("_")


MACHINE = _machine()
STAGING_NAME = re.compile(r"\.export-(?P<machine>\w+)-(?P<process>\d{1,9})-(?P<began>\d{1,20})-[0-9a-f]{8}")


def staging_parent(folder: Path) -> Path:
    """Where to stage a release for a folder: beside it, so that one rename moves it into place.

    In it, if it is a mount point, if only one of the two is writable, or if it is the current folder of this process:
    exchanging that would leave its shell in a removed folder.
    """
    beside = folder.parent
    if not os.path.isdir(folder):
        return beside
    usable = all(os.access(each, os.R_OK | os.W_OK | os.X_OK) for each in (folder, beside))
    return beside if usable and not _is_mounted(folder) and not _is_cwd(folder) else folder


@contextmanager
def staging(home: Path, owns: Owns, like: Optional[Path] = None) -> Iterator[Path]:
    """Create a staging folder in `home`, and `home` itself if missing; both are removed after a failure.

    Args:
        like: an existing folder whose owner, permissions and attributes are copied.
    """
    made = [folder for folder in (home, *home.parents) if not os.path.exists(folder)]
    stage = home / f".export-{MACHINE}-{os.getpid()}-{_start_time(os.getpid()) or 0}-{secrets.token_hex(4)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        remove_stale(owns, home)
        stage.mkdir()
        if like is not None and os.path.isdir(like):
            found = os.stat(like)
            with suppress(OSError):
                os.chown(stage, found.st_uid, found.st_gid)
            shutil.copystat(like, stage)
        yield stage
        for folder in made:
            fsync_folder(folder.parent)
        made = []
    finally:
        try:
            discard(stage, owns)
        finally:  # where an interrupt has stopped that
            discard(stage, owns)
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()


def discard(stage: Path, owns: Owns) -> None:
    """Remove a staging folder: files of a release, and files that are hard-linked elsewhere; other files stay."""
    with suppress(OSError):
        for entry in [*os.scandir(stage)]:
            if entry.name == BACKUP:
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name == STAGED or owns(entry.name) or entry.stat(follow_symlinks=False).st_nlink > 1:
                os.unlink(entry.path)
        os.rmdir(stage)


def remove_stale(owns: Owns, *homes: Path) -> None:
    """Remove the staging folders of dead processes.

    A folder of very many releases is not scanned for each of them: that would take longer than the exports.
    """
    for home in homes:
        with suppress(OSError):
            for name in _entries_to_scan(home):
                owner = STAGING_NAME.fullmatch(name)
                if owner is not None and _is_stale(home / name, owner):
                    discard(home / name, owns)


def fsync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, where the system supports that and permissions allow it.

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
    skips = _scans_to_skip.pop(home, 0)
    if skips:
        _scans_to_skip[home] = skips - 1
        return []
    names = os.listdir(home)
    if len(names) > _FEW_ENTRIES:
        _scans_to_skip[home] = len(names) // 10
    return names


def _is_stale(stage: Path, owner: re.Match[str]) -> bool:
    try:
        found = os.lstat(stage)
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if owner["machine"] != MACHINE:
        return found.st_mtime + MAX_REMOTE_AGE < time.time()
    now, then = _start_time(int(owner["process"])), int(owner["began"])
    return now is None or (now != then and 0 not in (now, then))


def _start_time(process: int) -> Optional[int]:
    """Start time of a process in clock ticks; 0 where the system does not tell, None if it does not exist."""
    with suppress(OSError, ValueError, IndexError):
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:  # a process of another user
        pass
    return 0


def _is_mounted(folder: Path) -> bool:
    """Whether a folder is a mount point, also of the same disk (`mount --bind`), which os.path.ismount misses."""
    mounts = []
    with suppress(OSError):
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return os.path.ismount(folder) or str(folder) in {
        re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mount) for mount in mounts}


def _is_cwd(folder: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(folder, os.getcwd())
    return False
