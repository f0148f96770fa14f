"""Write a file with fsync, hashing it on the fly."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable

from .. import progress
from .lazy_bytes import Data
from .threads import background

_BATCH_SIZE = 1 << 16  # bytes; fewer are not worth a second thread and a system call
_FLUSH_INTERVAL = 8 << 20  # bytes after which writeback is started, so that the final fsync waits for little


@dataclass(frozen=True)
class WrittenFile:
    """Name, size in bytes and checksum of a file of a release, as written."""

    name: str
    bytes: int
    sha256: str


class HashingWriter:
    """Writes a file, and hashes it by `update`; `nbytes` and `sha256` are those of all of it once it is closed."""

    def __init__(self, stream: BinaryIO, update: Callable[[Data], None]) -> None:
        self.nbytes = 0
        self.sha256 = ""
        self._stream, self._update = stream, update
        self._small: list[Data] = []
        self._waiting = self._flushed = 0

    def write(self, data: Data) -> None:
        """Append bytes, which must not change afterwards."""
        if len(data) >= _BATCH_SIZE:
            self.flush()
        self._small.append(data)
        self._waiting += len(data)
        if self._waiting >= _BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Hash and write the bytes that are waiting."""
        data = self._small[0] if len(self._small) == 1 else b"".join(self._small)
        self._small, self._waiting = [], 0
        self._update(data)
        self._stream.write(data)
        self.nbytes += len(data)
        progress.advance(len(data))
        if self.nbytes >= self._flushed + _FLUSH_INTERVAL and hasattr(os, "posix_fadvise"):
            begin, self._flushed = self._flushed, self.nbytes
            with suppress(OSError):  # on this advice, Linux starts writing to the disk without waiting for it
                os.posix_fadvise(self._stream.fileno(), begin, self._flushed - begin, os.POSIX_FADV_DONTNEED)


@contextmanager
def open_durable(path: Path) -> Iterator[HashingWriter]:
    """Create a file; on exit it is on the disk, and its `sha256` is known.

    Raises:
        OSError: if it is there already, or cannot be written.
    """
    sha256 = hashlib.sha256()
    with open(path, "xb") as stream, background(sha256.update) as update:
        file = HashingWriter(stream, update)
        yield file
        file.flush()
        stream.flush()
        os.fsync(stream.fileno())
    file.sha256 = sha256.hexdigest()
