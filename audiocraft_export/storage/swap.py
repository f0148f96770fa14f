"""Giving a staged release its place, so that there is always a whole one: the former, or the new."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable

from ..errors import ReleaseError
from .staging import BACKUP, fsync_folder

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP}


def replace_folder(stage: Path, folder: Path, names: Sequence[str], former: Callable[[Path], Collection[str]]) -> None:
    """Make a staged folder the release.

    In one step where there is none, or where the system can exchange two folders (Linux; not NFS); files of others go
    along. Otherwise, and where folders of others lie in it, file by file, the manifest last, and a failure puts back
    what was there.

    Args:
        stage: the staged folder, beside `folder` or in it.
        folder: the release folder.
        names: of the files in `stage`, in the order in which they are to appear.
        former: gives the names of the files in a folder that are a release: they go. Asked when it is time to, since
            others may export to the same folder meanwhile.

    Raises:
        OSError: if it cannot be done.
    """
    if stage.parent == folder.parent and _exchange_folder(stage, folder, names, former):
        fsync_folder(folder.parent)
    else:
        _replace_files(stage, folder, names, {*former(folder)} - {*names})
        fsync_folder(folder)


def refuse_non_files(folder: Path, names: Collection[str]) -> None:
    """Refuse to put a file where something else has its name.

    Raises:
        ReleaseError: if a folder, a pipe or the like is there.
    """
    for name in names:
        path = folder / name
        if os.path.lexists(path) and not os.path.isfile(path) and not os.path.islink(path):
            raise ReleaseError(f"{path} is there already and no file: move it away, or choose another folder.")


def _exchange_folder(stage: Path, folder: Path, names: Collection[str], former: Callable[[Path], Collection[str]]) -> bool:
    """Put the folder itself there; whether that could be done."""
    if os.path.isdir(folder) and not _has_same_owner(stage, folder):
        return False
    try:
        os.rename(stage, folder)
        return True
    except OSError as exc:
        if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST, *_UNSUPPORTED} or not os.path.isdir(folder):
            raise
    if not _link_other_files(stage, folder, names, former) or not _exchange(stage, folder):
        return False
    ours = {*names, *former(stage)}
    for entry in [*os.scandir(stage)]:
        if entry.name not in ours and not _is_same_entry(entry, folder):  # came in between
            os.replace(entry.path, folder / entry.name)
    return True


def _has_same_owner(stage: Path, folder: Path) -> bool:
    one, other = os.stat(stage), os.stat(folder)
    return (one.st_uid, one.st_gid) == (other.st_uid, other.st_gid)


def _link_other_files(stage: Path, folder: Path, names: Collection[str], former: Callable[[Path], Collection[str]]) -> bool:
    """Have the files of others in both folders, whichever is which afterwards; whether that can be done."""
    while True:
        with _pinned(folder) as found:
            ours = {*names, *former(folder)}
            others = [entry for entry in os.scandir(folder) if entry.name not in ours]
            if any(entry.is_dir(follow_symlinks=False) for entry in others):
                return False
            linked = []
            try:
                for entry in others:
                    os.link(entry.path, stage / entry.name, follow_symlinks=False)
                    linked.append(stage / entry.name)
            except OSError:
                return False
            if os.path.samestat(found, os.stat(folder)):
                fsync_folder(stage)
                return True
        for path in linked:  # another release has come in between: which files are those of others?
            path.unlink()


@contextmanager
def _pinned(folder: Path) -> Iterator[os.stat_result]:
    """What the system knows of a folder; no other one is taken for it while inside."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _is_same_entry(entry: os.DirEntry[str], folder: Path) -> bool:
    try:
        return os.path.samestat(entry.stat(follow_symlinks=False), os.lstat(folder / entry.name))
    except FileNotFoundError:
        return False


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; whether the system and the disk can do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number))
    return False


def _replace_files(stage: Path, folder: Path, names: Sequence[str], gone: Collection[str]) -> None:
    kept = stage / BACKUP
    kept.mkdir()
    for name in (*names, *gone):
        _back_up(folder / name, kept / name)
    try:
        for name in names:
            os.replace(stage / name, folder / name)
        for name in gone:
            with suppress(FileNotFoundError):
                os.unlink(folder / name)
    except BaseException:
        for name in {*names, *gone} - set(os.listdir(stage)):
            with suppress(OSError):
                if os.path.lexists(kept / name):
                    os.replace(kept / name, folder / name)
                else:
                    os.unlink(folder / name)
        raise


def _back_up(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy, follow_symlinks=False)
    except FileNotFoundError:
        pass
    except OSError:  # a disk without links
        shutil.copy2(path, copy, follow_symlinks=False)
