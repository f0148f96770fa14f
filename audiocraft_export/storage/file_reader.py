"""A file that is read in pieces, of which none is believed if somebody writes to it meanwhile."""

from __future__ import annotations

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
    """A regular file, open for as long as this is there: what replaces it meanwhile is not seen.

    Args:
        path: the file.
        kind: what it should be, for a message.

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
        """Its size."""
        return self.stat.st_size

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes from one position to another, piece by piece.

        Raises:
            CheckpointError: if they cannot be read, or somebody has written to the file since it was opened.
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
        """The bytes from one position to another; what lies before the file has none.

        Raises:
            CheckpointError: as `read`.
        """
        return b"".join(self.read(max(begin, 0), end))

    def _unreadable(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self.path} cannot be read ({why}): name a file of {self._kind}.")

    def _rewritten(self) -> CheckpointError:
        return CheckpointError(f"{self.path} was written to while it was read: export it again when its writer has "
                               "finished.")
