"""Giving a staged release its place, so that there is always a whole one: the former, or the new."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from .errors import ReleaseError
from .staging import fsync_folder

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP}


def place(stage: Path, folder: Path, names: Sequence[str], former: Collection[str]) -> None:
    """Make a staged folder the release.

    In one step where there is none, or where the system can exchange two folders (Linux; not NFS) and nothing else
    lies in it; otherwise file by file, the manifest last, and a failure puts back what was there.

    Args:
        stage: the staged folder, beside `folder` or in it.
        folder: the release folder.
        names: of the files in `stage`, in the order in which they are to appear.
        former: names of the files of the release before, which go.

    Raises:
        OSError: if it cannot be done.
    """
    if stage.parent == folder.parent and _as_a_whole(stage, folder, {*names, *former}):
        fsync_folder(folder.parent)
    else:
        _one_by_one(stage, folder, names, set(former) - set(names))
        fsync_folder(folder)


def refuse_what_is_no_file(folder: Path, names: Collection[str]) -> None:
    """Refuse to put a file where something else has its name.

    Raises:
        ReleaseError: if a folder, a pipe or the like is there.
    """
    for name in names:
        path = folder / name
        if os.path.lexists(path) and not os.path.isfile(path) and not os.path.islink(path):
            raise ReleaseError(f"{path} is there already and no file: move it away, or choose another folder.")


def _as_a_whole(stage: Path, folder: Path, ours: Collection[str]) -> bool:
    """Put the folder itself there; whether that could be done."""
    if os.path.isdir(folder):
        shutil.copymode(folder, stage)
    try:
        os.rename(stage, folder)
        return True
    except OSError as exc:
        if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST, *_CANNOT} or not os.path.isdir(folder):
            raise
    if not set(os.listdir(folder)) <= set(ours) or not _exchange(stage, folder):
        return False
    for name in set(os.listdir(stage)) - set(ours):  # came in between
        os.rename(stage / name, folder / name)
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; whether the system and the disk can do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number not in _CANNOT:
        raise OSError(number, os.strerror(number))
    return False


def _one_by_one(stage: Path, folder: Path, names: Sequence[str], gone: Collection[str]) -> None:
    kept = stage / "former"
    kept.mkdir()
    for name in (*names, *gone):
        _keep(folder / name, kept / name)
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


def _keep(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy, follow_symlinks=False)
    except FileNotFoundError:
        pass
    except OSError:  # a disk without links
        shutil.copy2(path, copy, follow_symlinks=False)
