"""Write a release so that nothing is lost: stage, fsync, read back, swap."""

import filecmp
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Callable, Optional, Protocol

from .. import progress
from ..errors import CheckpointError, ReleaseError, reason
from ..signals import exit_on_sigterm
from .durable_file import WrittenFile, open_durable
from .lazy_bytes import Sink
from .staging import STAGED, Owns, fsync_folder, staging, staging_parent
from .swap import refuse_non_files, replace_folder

_OVERHEAD = 1 << 16  # bytes that a release takes beside its tensors, at least


class Encoder(Protocol):
    """The content of one file, ready to be written."""

    @property
    def nbytes(self) -> int:
        """Size of the content, without what its container adds."""

    def write(self, stream: Sink, checked: bool) -> None:
        """Write it; with `checked`, compare the CRC-32 of all that is read for it."""

    def read_back(self, path: Path) -> None:
        """Compare a written file with it; raises `CheckpointError` where they differ."""

    def check_sources(self) -> None:
        """Read its sources again; raises `CheckpointError` where they are damaged."""


class Ownership(Protocol):
    """Which files of a folder belong to a release and may be replaced or removed."""

    def owns(self, name: str) -> bool:
        """Whether some release may have a file of this name."""

    def stale_files(self, folder: Path) -> Collection[str]:
        """The files of the previous release in a folder that the new one does not have."""

    def refuse_foreign_files(self, folder: Path, may_be_same: Callable[[Path], bool]) -> None:
        """Refuse to replace a release of another experiment, or a file of none that differs; raises `ReleaseError`."""


def write_release(folder: Path, files: Mapping[str, Encoder], ownership: Ownership,
                  finish: Callable[[Path, list[WrittenFile]], tuple[str, bytes]],
                  read_back: bool = True) -> list[WrittenFile]:
    """Write a release, and return its files but for the manifest; whatever fails, the previous one stays as it is.

    Args:
        folder: the release folder, as `resolve_output` returns it; created if missing.
        files: the content of each file, by name.
        finish: called with the staging folder and its files once they are complete; returns the name and the
            content of the manifest, the file that appears last.
        read_back: whether to compare the staged files with their content before they are moved into place.

    Raises:
        ReleaseError: if it cannot be written, or what was written does not read back.
        CheckpointError: if bytes read from the checkpoint are damaged.
        ExportError: whatever `finish` raises.
    """
    nbytes = sum(content.nbytes for content in files.values())
    progress.set_total(nbytes)
    with _wrap_errors(folder), exit_on_sigterm():
        home = staging_parent(folder)
        _check_free_space(home, nbytes)
        with staging(home, ownership.owns, like=folder if home == folder.parent else None) as stage:
            written = [_write_staged(stage / name, content, not read_back) for name, content in files.items()]
            for name, content in files.items() if read_back else ():
                _read_back(stage / name, content)
            ownership.refuse_foreign_files(folder, lambda path: filecmp.cmp(stage / path.name, path, shallow=False))
            manifest, data = finish(stage, written)
            with open_durable(stage / manifest) as stream:
                stream.write(data)
            fsync_folder(stage)
            replace_folder(stage, folder, [*files, manifest], ownership.stale_files)
    return written


def check_writable(folder: Path, nbytes: Optional[int] = None) -> None:
    """Check that a release, of that size, can be written to a folder, as `resolve_output` returns it.

    Nothing stays there.

    Raises:
        ReleaseError: if it cannot.
    """
    with _wrap_errors(folder):
        with suppress(FileNotFoundError):
            os.lstat(folder)  # its name may be too long, or lead through a file
        home = staging_parent(folder)
        with TemporaryFile(dir=next(each for each in (home, *home.parents) if os.path.exists(each))):
            pass
        if nbytes is not None:
            _check_free_space(home, nbytes)


def write_file(path: Path, content: Encoder, owns: Owns) -> None:
    """Write a single file; an existing one survives any failure.

    Raises:
        ReleaseError: if it cannot be written, or what was written does not read back.
        CheckpointError: if bytes read from the checkpoint are damaged.
    """
    progress.set_total(content.nbytes)
    with _wrap_errors(path), exit_on_sigterm():
        refuse_non_files(path.parent, [path.name])
        _check_free_space(path.parent, content.nbytes)
        with staging(path.parent, owns) as stage:
            _write_staged(stage / STAGED, content, checked=False)
            _read_back(stage / STAGED, content)
            if os.path.exists(path):
                shutil.copymode(path, stage / STAGED)
            os.replace(stage / STAGED, path)
            fsync_folder(path.parent)


def replace_files(folder: Path, contents: Mapping[str, Encoder], owns: Owns) -> None:
    """Write files into an existing release folder, each in place of the one with its name.

    Raises:
        ReleaseError: if they cannot be written; existing files survive that.
    """
    with _wrap_errors(folder), exit_on_sigterm(), staging(folder, owns) as stage:
        refuse_non_files(folder, contents)
        for name, content in contents.items():
            _write_staged(stage / STAGED, content, checked=True)
            os.replace(stage / STAGED, folder / name)
        fsync_folder(folder)


def resolve_output(path: Path, is_valid: Callable[[str], bool] = os.path.isdir) -> Path:
    """Resolve the symlinks of an output path: a release folder; or a file, with `is_valid=os.path.isfile`.

    Raises:
        ReleaseError: if something else exists there, or a dangling symlink: creating a folder behind one would fill
            the wrong disk.
    """
    with _wrap_errors(path):
        if os.path.lexists(path) and not is_valid(str(path)):
            what = "a link to nothing"
            if os.path.exists(path):
                what = "no folder" if is_valid is os.path.isdir else "no file"
            raise ReleaseError(f"{path} is there already, and {what}: choose another place, or move it away.")
        return Path(os.path.realpath(path))


def _write_staged(path: Path, content: Encoder, checked: bool) -> WrittenFile:
    with open_durable(path) as file:
        content.write(file, checked)
    return WrittenFile(path.name, file.nbytes, file.sha256)


def _read_back(path: Path, content: Encoder) -> None:
    """Compare a written file with its content; raises `CheckpointError` if what that was read from is damaged."""
    try:
        content.read_back(path)
    except CheckpointError as exc:
        content.check_sources()
        raise ReleaseError(f"What was written does not read back ({exc}): check the disk and export again.") from exc


@contextmanager
def _wrap_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as exc:
        raise ReleaseError(f"The release cannot be written to {path} ({reason(exc)}): make room, or choose another "
                           "folder.") from exc


def _check_free_space(home: Path, nbytes: int) -> None:
    disk = shutil.disk_usage(next(folder for folder in (home, *home.parents) if os.path.exists(folder)))
    if disk.total and disk.free < nbytes + _OVERHEAD:
        raise ReleaseError(f"The release takes {nbytes + _OVERHEAD} bytes, and the disk of {home} has {disk.free} "
                           "free: make room, or choose another folder.")
