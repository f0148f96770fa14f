"""Read a file in chunks; fail if it is modified meanwhile."""

from __future__ import annotations

import errno
import gc
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from ..errors import CheckpointError, permission_hint, reason
from .file_version import same_mtime
from .lazy_bytes import CHUNK_SIZE
from .platform import keep_freed_memory, open_binary, read_at

_open_files: weakref.WeakSet[FileReader] = weakref.WeakSet()


class FileReader:
    """A regular file that is kept open, so that a file that replaces it meanwhile is not read.

    Args:
        kind: the kind of file that is expected, for messages, such as `torch.save`.

    Raises:
        CheckpointError: if the file cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        keep_freed_memory()
        try:
            self.descriptor = open_binary(path)
            self._close = weakref.finalize(self, os.close, self.descriptor)
            _open_files.add(self)
            self.stat = os.fstat(self.descriptor)
        except (OSError, ValueError) as exc:
            raise self._unreadable(exc) from exc
        if not stat.S_ISREG(self.stat.st_mode):
            found = "a directory" if stat.S_ISDIR(self.stat.st_mode) else "not a regular file"
            raise CheckpointError("wrong-target", f"{path} is {found}: expected a {kind} file")

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self.stat.st_size

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes between two positions in chunks.

        Raises:
            CheckpointError: if the file cannot be read, or was modified since it was opened.
        """
        while begin < end:
            try:
                piece = read_at(self.descriptor, min(end - begin, CHUNK_SIZE), begin)
                now = os.fstat(self.descriptor)
            except OSError as exc:
                raise self._modified() if exc.errno == errno.ESTALE else self._unreadable(exc) from exc
            if not piece or now.st_size != self.stat.st_size or not same_mtime(now.st_mtime_ns, self.stat.st_mtime_ns):
                raise self._modified()
            begin += len(piece)
            yield piece

    def read_bytes(self, begin: int, end: int) -> bytes:
        """Return the bytes between two positions; negative positions count as 0.

        Raises:
            CheckpointError: as `read`.
        """
        return b"".join(self.read(max(begin, 0), end))

    def close(self) -> None:
        """Close the file; it cannot be read afterwards."""
        self._close()
        self.descriptor = -1

    def _unreadable(self, exc: Exception) -> CheckpointError:
        return CheckpointError("path-not-found" if isinstance(exc, FileNotFoundError) else "read-failed",
                               f"Cannot read {self.path}: {reason(exc)}", permission_hint(exc))

    def _modified(self) -> CheckpointError:
        return CheckpointError("file-changed", f"{self.path} was modified while it was read",
                               "try again when the process that writes it has finished")


def close_files(folder: Path) -> None:
    """Close the files of a folder that this process has open."""
    gc.collect()  # other libraries may have mapped files of models that they have loaded
    for file in [*_open_files]:
        if os.path.dirname(os.path.realpath(file.path)) == os.path.realpath(folder):
            file.close()
