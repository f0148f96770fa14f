"""Atomically replace a release folder with a staged one: at any moment there is the previous release or the new one."""

import ctypes
import errno
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Callable, Optional

from ..errors import ReleaseError
from .staging import BACKUP, fsync_folder

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP}
_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}
StaleFiles = Callable[[Path], Collection[str]]


def replace_folder(stage: Path, folder: Path, names: Sequence[str], stale_files: StaleFiles) -> None:
    """Make a staged folder the release folder.

    In one step where there is no release folder, or where the system can exchange two folders (Linux; not NFS); files
    that belong to no release go along. Otherwise, and where the folder has subfolders, file by file, the manifest last,
    and a failure restores the previous files.

    Args:
        stage: the staged folder, beside `folder` or in it.
        names: the files in `stage`, in the order in which they are to appear.
        stale_files: returns the names of the previous release's files in a folder, which are removed. Called as late
            as possible: another process may export to the same folder.

    Raises:
        OSError: if it cannot be done.
    """
    if stage.parent == folder.parent and _rename_folder(stage, folder, names, stale_files):
        fsync_folder(folder.parent)
    else:
        _replace_files(stage, folder, names, {*stale_files(folder)} - {*names})
        fsync_folder(folder)


def refuse_non_files(folder: Path, names: Collection[str]) -> None:
    """Refuse to replace anything that is not a regular file or a symlink.

    Raises:
        ReleaseError: if a folder, a pipe or the like has one of the names.
    """
    for name in names:
        path = folder / name
        if os.path.lexists(path) and not os.path.isfile(path) and not os.path.islink(path):
            raise ReleaseError(f"{path} is there already and no file: move it away, or choose another folder.")


def _rename_folder(stage: Path, folder: Path, names: Collection[str], stale_files: StaleFiles) -> bool:
    """Rename the staged folder to the release folder, or exchange the two, with the other files of `folder` in both.

    False where neither is possible.
    """
    if os.path.isdir(folder) and not _have_same_owner(stage, folder):
        return False
    try:
        os.rename(stage, folder)
        return True
    except OSError as exc:
        if exc.errno not in _NOT_EMPTY | _UNSUPPORTED or not os.path.isdir(folder):
            raise
    if not _link_other_files(stage, folder, names, stale_files) or not _exchange(stage, folder):
        return False
    owned = {*names, *stale_files(stage)}
    for entry in [*os.scandir(stage)]:
        if entry.name not in owned and not _is_same_entry(entry, folder):  # appeared in the meantime
            os.replace(entry.path, folder / entry.name)
    return True


def _have_same_owner(stage: Path, folder: Path) -> bool:
    one, other = os.stat(stage), os.stat(folder)
    return (one.st_uid, one.st_gid) == (other.st_uid, other.st_gid)


def _link_other_files(stage: Path, folder: Path, names: Collection[str], stale_files: StaleFiles) -> bool:
    """Hard-link the files of `folder` that belong to no release into `stage`; False where that is not possible."""
    while True:
        descriptor = os.open(folder, os.O_RDONLY)  # while it is open, its inode is not reused
        try:
            owned = {*names, *stale_files(folder)}
            linked = _link_all([entry for entry in os.scandir(folder) if entry.name not in owned], stage)
            if linked is None:
                return False
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                fsync_folder(stage)
                return True
        finally:
            os.close(descriptor)
        for path in linked:  # another release took the folder's place: which files are owned has to be asked again
            path.unlink()


def _link_all(entries: Collection[os.DirEntry[str]], target: Path) -> Optional[list[Path]]:
    """Hard-link files into a folder; None if one is a folder or cannot be linked."""
    if any(entry.is_dir(follow_symlinks=False) for entry in entries):
        return None
    try:
        for entry in entries:
            os.link(entry.path, target / entry.name, follow_symlinks=False)
    except OSError:
        return None
    return [target / entry.name for entry in entries]


def _is_same_entry(entry: os.DirEntry[str], folder: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(entry.stat(follow_symlinks=False), os.lstat(folder / entry.name))
    return False


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the disk cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number))
    return False


def _replace_files(stage: Path, folder: Path, names: Sequence[str], stale: Collection[str]) -> None:
    """Replace files one by one and remove the stale ones; restore all of them after a failure."""
    backup = stage / BACKUP
    backup.mkdir()
    for name in (*names, *stale):
        _back_up(folder / name, backup / name)
    try:
        for name in names:
            os.replace(stage / name, folder / name)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
    except BaseException:
        for name in {*names, *stale} - set(os.listdir(stage)):
            _restore(folder / name, backup / name)
        raise


def _back_up(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy, follow_symlinks=False)
    except FileNotFoundError:
        pass
    except OSError:  # a disk without hard links
        shutil.copy2(path, copy, follow_symlinks=False)


def _restore(path: Path, copy: Path) -> None:
    with suppress(OSError):
        if os.path.lexists(copy):
            os.replace(copy, path)
        else:
            path.unlink()
