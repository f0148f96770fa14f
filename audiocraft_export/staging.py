"""Staging folders: a release is made in one, beside its place; those of dead processes are removed.

`.export-<host>-<process>-<when it began>-<token>`: the name says whose it is, so that no lock is needed.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

HOST = re.sub(r"\W+", "_", platform.node())[:64] or "host"
NAME = re.compile(r"\.export-(?P<host>\w+)-(?P<process>\d{1,9})-(?P<began>\d+)-\w+")
LONGEST = 24 * 3600  # seconds that an export on another machine is believed to take


def home_of(folder: Path) -> Path:
    """Where to stage a release for a folder: beside it, so that one step can put it there.

    In it, where it is a disk of its own, where only one of the two may be written to, and where this process stands in
    it: a folder that is exchanged for another would leave its shell nowhere.
    """
    beside = folder.parent
    if not os.path.isdir(folder):
        return beside
    writable = all(os.access(each, os.W_OK | os.X_OK) for each in (folder, beside))
    return beside if writable and not _is_mounted(folder) and not _stands_in(folder) else folder


@contextmanager
def staging(home: Path) -> Iterator[Path]:
    """A new folder in `home`, and `home` itself if it is not there; both are gone again after a failure."""
    made = [folder for folder in (home, *home.parents) if not os.path.exists(folder)]
    stage = home / f".export-{HOST}-{os.getpid()}-{_began(os.getpid()) or 0}-{secrets.token_hex(4)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        remove_stale(home)
        stage.mkdir()
        yield stage
        for folder in made:
            fsync_folder(folder.parent)
        made = []
    finally:
        try:
            shutil.rmtree(stage, ignore_errors=True)
        finally:  # where an interrupt has stopped that
            shutil.rmtree(stage, ignore_errors=True)
            for folder in made:
                _remove_empty(folder)


def remove_stale(*homes: Path) -> None:
    """Remove the staging folders of processes that are gone."""
    for home in homes:
        try:
            names = [name for name in os.listdir(home) if name.startswith(".export-") and _is_stale(home / name)]
        except OSError:
            continue
        for name in names:
            shutil.rmtree(home / name, ignore_errors=True)


def fsync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_stale(stage: Path) -> bool:
    owner = NAME.fullmatch(stage.name)
    if owner is None:
        return False
    if owner["host"] != HOST:
        return os.stat(stage).st_mtime + LONGEST < time.time()
    began = _began(int(owner["process"]))
    return began is None or bool(began and int(owner["began"])) and began != int(owner["began"])


def _began(process: int) -> Optional[int]:
    """When a process began, in ticks of the machine; 0 where the system does not say, None if there is none."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return 0 if _is_there(process) else None


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True


def _is_mounted(folder: Path) -> bool:
    """Whether a folder is a mount point; Python does not see one of the same disk (`mount --bind`)."""
    try:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        mounts = []
    return os.path.ismount(folder) or str(folder).replace(" ", r"\040") in mounts


def _stands_in(folder: Path) -> bool:
    try:
        return os.path.samefile(folder, os.getcwd())
    except OSError:
        return False


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass
