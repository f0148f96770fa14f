"""Atomically replace a release folder with a staged one: at any time, the previous or the new release is complete."""

import errno
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Callable, Optional

from ..errors import ReleaseError, reason
from .file_reader import close_files
from .platform import Exchange, folder_exchange
from .staging import BACKUP, fsync_folder

_KEPT = "previous-release"  # subfolder of a staging folder, with files that could not be restored
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP,
                errno.ENOTSUP}
_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}
StaleFiles = Callable[[Path], Collection[str]]


def replace_folder(stage: Path, folder: Path, files: Sequence[str], last: Sequence[str],
                   stale_files: StaleFiles) -> None:
    """Move a staged release into place.

    This is one atomic rename if the release folder is new, or if the system can exchange two folders (on Linux and
    macOS, except on NFS); files that belong to no release are kept. Otherwise, or if the folder has subfolders, the
    files are replaced one by one, the manifest last, and a failure restores the previous ones.

    Args:
        stage: the staged folder, in `folder` or in its parent.
        files: the files in `stage`, except `last`.
        last: the manifest and the files that depend on the others, in the order in which they are to appear.
        stale_files: returns the names of the previous release's files in a folder, which are removed. It is called as
            late as possible, because another process may export to the same folder.

    Raises:
        OSError: if a file cannot be replaced.
        ReleaseError: if the previous files cannot be restored.
    """
    names = [*files, *last]
    if stage.parent == folder.parent and _rename_folder(stage, folder, names, stale_files):
        fsync_folder(folder.parent)
    else:
        _replace_files(stage, folder, files, last, {*stale_files(folder)} - {*names})
        fsync_folder(folder)


def refuse_non_files(folder: Path, names: Collection[str]) -> None:
    """Refuse to replace anything except regular files and symlinks.

    Raises:
        ReleaseError: if one of the names belongs to a folder, a pipe, a device or a socket.
    """
    for name in names:
        path = folder / name
        if os.path.lexists(path) and not os.path.isfile(path) and not os.path.islink(path):
            raise ReleaseError("invalid-output", f"{path} exists and is not a regular file",
                               "move it, or choose another folder")


def _rename_folder(stage: Path, folder: Path, names: Collection[str], stale_files: StaleFiles) -> bool:
    """Move the staged folder to the release folder by one rename.

    If the release folder exists, all files in it that belong to no release are hard-linked into the staged folder, and
    then the two folders are exchanged.

    Returns:
        False if the folders cannot be renamed or exchanged.
    """
    if os.path.isdir(folder) and not _have_same_owner(stage, folder):  # an exchange would change its owner
        return False
    try:
        os.rename(stage, folder)
        return True
    except OSError as exc:
        if exc.errno not in _NOT_EMPTY | _UNSUPPORTED or not os.path.isdir(folder):
            raise
    exchange = folder_exchange()
    if exchange is None or not _link_other_files(stage, folder, names, stale_files) \
            or not _exchange(stage, folder, exchange):
        return False
    owned = {*names, *stale_files(stage)}
    for entry in [*os.scandir(stage)]:
        if entry.name not in owned and not _is_same_entry(entry, folder):  # created since the files were linked
            os.replace(entry.path, folder / entry.name)
    return True


def _have_same_owner(stage: Path, folder: Path) -> bool:
    one, other = os.stat(stage), os.stat(folder)
    return (one.st_uid, one.st_gid) == (other.st_uid, other.st_gid)


def _link_other_files(stage: Path, folder: Path, names: Collection[str], stale_files: StaleFiles) -> bool:
    """Hard-link the files of `folder` that belong to no release into `stage`; return whether that was possible."""
    while True:
        descriptor = os.open(folder, os.O_RDONLY)  # the inode of an open folder is not reused
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
        for path in linked:  # another process has replaced the folder, which may have other files now
            path.unlink()


def _link_all(entries: Collection[os.DirEntry[str]], target: Path) -> Optional[list[Path]]:
    """Hard-link files into a folder, and return the links; None if an entry is a folder or cannot be linked."""
    if any(entry.is_dir(follow_symlinks=False) for entry in entries):
        return None
    try:
        for entry in entries:
            os.link(entry.path, target / entry.name, follow_symlinks=False)
    except OSError:
        return None
    return [target / entry.name for entry in entries]


def _is_same_entry(entry: os.DirEntry[str], folder: Path) -> bool:
    """Return whether a folder has an entry of the same name that is a hard link to the same file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(entry.stat(follow_symlinks=False), os.lstat(folder / entry.name))
    return False


def _exchange(one: Path, other: Path, exchange: Exchange) -> bool:
    """Exchange two folders atomically; return False if the file system does not support it."""
    number = exchange(one, other)
    if number and number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number))
    return not number


def _replace_files(stage: Path, folder: Path, files: Sequence[str], last: Sequence[str],
                   stale: Collection[str]) -> None:
    """Replace files one by one and remove the stale ones; restore all files after a failure.

    The stale files are removed once the new ones are in place, so that a kill never leaves a folder without weights,
    and before the manifest is replaced, by which the next export finds them.

    Raises:
        OSError: if a file cannot be replaced; the previous files are restored.
        ReleaseError: if they cannot be restored, with the folder where they are.
    """
    if folder_exchange() is None:  # on Windows, which moves and replaces no open file
        close_files(folder)
        close_files(stage)
    backup = stage / BACKUP
    backup.mkdir()
    for name in (*files, *last, *stale):
        _back_up(folder / name, backup / name)
    try:
        for name in files:
            os.replace(stage / name, folder / name)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        for name in last:
            os.replace(stage / name, folder / name)
    except BaseException as exc:
        changed = {*files, *last, *stale} - {*os.listdir(stage)}
        restored = [_restore(folder / name, backup / name) for name in changed]
        if not all(restored):
            kept = backup.rename(stage / _KEPT)
            raise ReleaseError("write-failed", f"Cannot replace the release in {folder}, nor restore all of its files: "
                               f"{reason(exc)}", f"copy the missing files from {kept}") from exc
        raise


def _back_up(path: Path, backup: Path) -> None:
    """Hard-link a file to its backup, or copy it; do nothing if the file does not exist."""
    try:
        os.link(path, backup, follow_symlinks=False)
    except FileNotFoundError:
        pass
    except (OSError, NotImplementedError):  # the file system has no hard links, or none to symlinks
        shutil.copy2(path, backup, follow_symlinks=False)


def _restore(path: Path, backup: Path) -> bool:
    """Move a backup back, or remove a file without a backup, which did not exist before.

    Returns:
        False if the backup cannot be moved.
    """
    with suppress(OSError):
        if not os.path.lexists(backup):
            path.unlink()
        elif os.path.lexists(path) and os.path.samestat(os.lstat(path), os.lstat(backup)):
            backup.unlink()  # the file was not replaced
        else:
            os.replace(backup, path)
    return not os.path.lexists(backup)
