"""Write a release durably: stage its files, flush them to the disk, read them back, and move them into place."""

import errno
import filecmp
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Callable, Optional, Protocol

from .. import progress
from ..errors import CheckpointError, ReleaseError, readable_size, reason
from ..signals import exit_on_sigterm
from .durable_file import WrittenFile, write_durable
from .lazy_bytes import Sink
from .platform import bytes_read_from_disks, free_space
from .read_back import Part, compare
from .staging import STAGED, Owns, fsync_folder, staging, staging_parent
from .swap import refuse_non_files, replace_folder

_OVERHEAD = 1 << 16  # bytes; estimated size of headers, configuration and manifest
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_FREE_SPACE = "free some disk space, or choose another folder"
_PERMISSIONS = "check the permissions of the folder, or choose another folder"
_HINTS = {**dict.fromkeys(DISK_FULL, _FREE_SPACE), **dict.fromkeys((errno.EACCES, errno.EPERM), _PERMISSIONS),
          errno.EFBIG: "raise the limit of the size of files (ulimit -f), or choose another file system",
          errno.ENOENT: "choose another folder", errno.EROFS: "choose a folder on a writable file system",
          errno.ENAMETOOLONG: "choose a shorter path"}


# How written files are compared with their content, as a manifest says: read from the disk after they left the page
# cache, read from the page cache, or not at all.
DEVICE, CACHE, NONE = "device", "cache", "none"


@dataclass(frozen=True)
class Written:
    """The written files of a release, except the manifest, and how they were read back."""

    files: list[WrittenFile]
    read_back: str


class Encoder(Protocol):
    """The content of one file, ready to be written."""

    @property
    def nbytes(self) -> int:
        """Size of the content in bytes, without the overhead of its container."""

    def write(self, stream: Sink, checked: bool) -> list[Part]:
        """Write the content, and return its parts; with `checked`, compare the CRC-32 of all bytes read for it."""

    def check_sources(self) -> None:
        """Read the sources of the content again; raise `CheckpointError` if they are corrupted."""


class Ownership(Protocol):
    """Decide which files of a folder belong to a release, and may be replaced or removed."""

    def owns(self, name: str) -> bool:
        """Return whether a file of this name may belong to a release."""

    def stale_files(self, folder: Path) -> Collection[str]:
        """Return the names of files of the previous release that are not part of the new release."""

    def refuse_unrelated_files(self, folder: Path, may_be_same: Callable[[Path], bool]) -> None:
        """Refuse to replace the release of another experiment, or a file that is not part of a release.

        Raises:
            ReleaseError: if the folder has a release of another experiment, or an unrelated file.
        """


def write_release(folder: Path, files: Mapping[str, Encoder], ownership: Ownership,
                  finish: Callable[[Path, Written], Mapping[str, Encoder]], read_back: str = DEVICE) -> Written:
    """Write a release; after any failure, the previous release is unchanged.

    Args:
        folder: the release folder, as `resolve_output` returns it; created if missing.
        files: the content of each file, by name.
        ownership: decides which existing files may be replaced.
        finish: called with the staging folder and its files once they are complete; returns the contents of the
            manifest and of the files that depend on the others, by name, in the order in which they are to appear.
        read_back: how to compare the staged files with their content before they are moved into place.

    Returns:
        The written files, except those of `finish`; they were read back from the cache if the system cannot read them
        from the device.

    Raises:
        ReleaseError: if the release cannot be written, or differs from its content when it is read back.
        CheckpointError: if bytes read from the checkpoint are corrupted.
        ExportError: any error that `finish` raises.
    """
    nbytes = sum(content.nbytes for content in files.values())
    progress.set_total(nbytes)
    with _wrap_errors(folder), exit_on_sigterm():
        home = staging_parent(folder)
        _check_free_space(home, nbytes)
        with staging(home, ownership.owns, like=folder if home == folder.parent else None) as stage:
            checker = _ReadBack(read_back)
            made = [_write_staged(stage / name, content, checker) for name, content in files.items()]
            written = Written(made, checker.read_from)
            ownership.refuse_unrelated_files(folder, lambda path: filecmp.cmp(stage / path.name, path, shallow=False))
            last = finish(stage, written)
            for name, content in last.items():
                _write_staged(stage / name, content, checker)
            fsync_folder(stage)
            replace_folder(stage, folder, [*files], [*last], ownership.stale_files)
    return written


def check_writable(folder: Path, nbytes: Optional[int] = None) -> None:
    """Check that a release can be written to a folder; nothing is left there.

    Args:
        folder: the release folder, as `resolve_output` returns it.
        nbytes: size of the release, if the free disk space is to be checked.

    Raises:
        ReleaseError: if the folder is not writable, or the disk is full.
    """
    with _wrap_errors(folder):
        home = staging_parent(folder)
        with TemporaryFile(dir=_existing_folder(home)):
            pass
        if nbytes is not None:
            _check_free_space(home, nbytes)


def write_file(path: Path, content: Encoder, owns: Owns) -> None:
    """Write a single file; after any failure, an existing file is unchanged.

    Raises:
        ReleaseError: if the file cannot be written, or differs from its content when it is read back.
        CheckpointError: if bytes read from the checkpoint are corrupted.
    """
    progress.set_total(content.nbytes)
    with _wrap_errors(path), exit_on_sigterm():
        refuse_non_files(path.parent, [path.name])
        _check_free_space(path.parent, content.nbytes)
        with staging(path.parent, owns) as stage:
            _write_staged(stage / STAGED, content, _ReadBack(DEVICE))
            if os.path.exists(path):
                shutil.copymode(path, stage / STAGED)
            os.replace(stage / STAGED, path)
            fsync_folder(path.parent)


def replace_files(folder: Path, contents: Mapping[str, Encoder], owns: Owns) -> None:
    """Write files to an existing release folder, and replace those with the same names.

    Raises:
        ReleaseError: if a file cannot be written; the existing file is unchanged then.
    """
    with _wrap_errors(folder), exit_on_sigterm(), staging(folder, owns) as stage:
        refuse_non_files(folder, contents)
        for name, content in contents.items():
            _write_staged(stage / STAGED, content, _ReadBack(NONE))
            os.replace(stage / STAGED, folder / name)
        fsync_folder(folder)


def resolve_output(path: Path, is_valid: Callable[[str], bool] = os.path.isdir) -> Path:
    """Resolve the symlinks of an output path.

    Args:
        path: a release folder, or a file with `is_valid=os.path.isfile`.
        is_valid: returns whether an existing path is of the right kind.

    Raises:
        ReleaseError: if the path exists and is of another kind, or is a dangling symlink: creating a folder at its
            target could fill the wrong disk. Also if a name is too long, or permissions do not allow to enter a folder.
    """
    with _wrap_errors(path):
        if os.path.lexists(path) and not is_valid(str(path)):
            if not os.path.exists(path):
                raise ReleaseError("invalid-output", f"Output path {path} is a dangling symlink",
                                   "remove the symlink, or choose another path")
            kind = "folder" if is_valid is os.path.isdir else "regular file"
            raise ReleaseError("invalid-output", f"Output path {path} exists and is not a {kind}",
                               "move it, or choose another path")
        with suppress(FileNotFoundError):  # fails if the name is too long, a parent is a file, or it may not be entered
            os.lstat(f"{path}/." if os.path.isdir(path) else path)
        try:
            return Path(os.path.realpath(path))
        except ValueError as exc:  # a null byte
            raise ReleaseError("invalid-output", f"Invalid output path {path}: {reason(exc)}",
                               "choose another path") from exc


class _ReadBack:
    """Compares written files with their content.

    Args:
        wanted: where the bytes are to come from: the device or the cache, or `none` to compare nothing.
    """

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self._compared = self._from_disks = 0  # bytes

    @property
    def read_from(self) -> str:
        """Where the bytes came from: the cache, although the device is wanted, if the system has kept them there."""
        return CACHE if self.wanted == DEVICE and self._from_disks < self._compared else self.wanted

    def compare(self, path: Path, content: Encoder, parts: Sequence[Part]) -> None:
        """Compare a file with the parts of its content.

        Raises:
            CheckpointError: if the source of the content is corrupted.
            ReleaseError: if the file differs from its content.
        """
        if self.wanted == NONE:
            return
        before = bytes_read_from_disks()
        try:
            compare(path, parts, from_disk=self.wanted == DEVICE)
        except CheckpointError as exc:
            content.check_sources()
            raise ReleaseError("read-back-failed", f"The written file differs from its content: {exc.message}",
                               "check the disk, and export again") from exc
        self._compared += sum(part.size for part in parts)
        self._from_disks += bytes_read_from_disks() - before


def _write_staged(path: Path, content: Encoder, read_back: _ReadBack) -> WrittenFile:
    return write_durable(path, lambda file: content.write(file, checked=read_back.wanted == NONE),
                         lambda parts: read_back.compare(path, content, parts))


@contextmanager
def _wrap_errors(path: Path) -> Iterator[None]:
    """Convert an OSError to a ReleaseError with a hint for its cause."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, (FileExistsError, NotADirectoryError)):
            raise ReleaseError("invalid-output", f"Cannot write the release to {path}: a parent of this path is not a "
                               "folder", "choose another path") from exc
        number = exc.errno or 0
        raise ReleaseError("disk-full" if number in DISK_FULL else "write-failed",
                           f"Cannot write the release to {path}: {reason(exc)}", _HINTS.get(number, "")) from exc


def _check_free_space(home: Path, nbytes: int) -> None:
    free = free_space(_existing_folder(home))
    if free < nbytes + _OVERHEAD:
        raise ReleaseError("disk-full", f"Not enough disk space in {home}: need {readable_size(nbytes + _OVERHEAD)}, "
                           f"{readable_size(int(free))} available", _FREE_SPACE)


def _existing_folder(folder: Path) -> Path:
    """Return a folder, or the closest of its parents that exists."""
    return next(each for each in (folder, *folder.parents) if os.path.exists(each))
