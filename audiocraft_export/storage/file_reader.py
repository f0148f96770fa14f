"""Read a file in chunks; fail if it is modified meanwhile."""

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from ..errors import CheckpointError, reason
from .file_version import same_mtime
from .lazy_bytes import CHUNK_SIZE


class FileReader:
    """A regular file, of a `kind` for messages, that stays open: one that replaces it meanwhile is not read.

    Raises:
        CheckpointError: if it cannot be opened, or is no regular file.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self._kind = path, kind
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would wait for its writer
            weakref.finalize(self, os.close, self.descriptor)
            self.stat = os.fstat(self.descriptor)
        except (OSError, ValueError) as exc:
            raise self._unreadable(reason(exc)) from exc
        if not stat.S_ISREG(self.stat.st_mode):
            raise self._unreadable("Is a directory" if stat.S_ISDIR(self.stat.st_mode) else "it is no regular file")

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return self.stat.st_size

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from one position to another in chunks.

        Raises:
            CheckpointError: if they cannot be read, or the file was modified since it was opened.
        """
        while begin < end:
            try:
                piece = os.pread(self.descriptor, min(end - begin, CHUNK_SIZE), begin)
                now = os.fstat(self.descriptor)
            except OSError as exc:
                raise self._rewritten() if exc.errno == errno.ESTALE else self._unreadable(reason(exc)) from exc
            if not piece or now.st_size != self.stat.st_size or not same_mtime(now.st_mtime_ns, self.stat.st_mtime_ns):
                raise self._rewritten()
            begin += len(piece)
            yield piece

    def read_bytes(self, begin: int, end: int) -> bytes:
        """The bytes from one position to another; a position before the file counts as its start.

        Raises:
            CheckpointError: as `read`.
        """
        return b"".join(self.read(max(begin, 0), end))

    def _unreadable(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self.path} cannot be read ({why}): name a file of {self._kind}.")

    def _rewritten(self) -> CheckpointError:
        return CheckpointError(f"{self.path} was written to while it was read: export it again when its writer has "
                               "finished.")
