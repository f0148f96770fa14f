"""Write a file with fsync, and hash a file while it is written."""

import errno
import hashlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Union

from .. import progress
from .checksum import crc32
from .lazy_bytes import Data
from .platform import drop_cache, open_binary, read_into

_BATCH_SIZE = 1 << 17  # bytes; smaller chunks are joined, because each chunk costs system calls and a task
_HASH_SIZE = 1 << 19  # bytes that are hashed at once; they stay in the CPU cache
_FLUSH_INTERVAL = 8 << 20  # bytes after which writeback is started, which shortens the final fsync


@dataclass(frozen=True)
class WrittenFile:
    """Name, size in bytes and sha256 of a written file of a release."""

    name: str
    bytes: int
    sha256: str


class FileHash:
    """The sha256 of a file that is being written; its bytes are read from the file, so that its writer need not wait.

    `crc` is the CRC-32 of the same bytes.

    Raises:
        OSError: if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.crc = 0
        self._path, self._position, self._sha256 = path, 0, hashlib.sha256()
        self._buffer = memoryview(bytearray(_HASH_SIZE))
        self._descriptor = open_binary(path)
        self._close = weakref.finalize(self, os.close, self._descriptor)

    def read_to(self, end: int) -> None:
        """Hash the next bytes, up to a position; some network file systems have them only once the writer is closed.

        Raises:
            OSError: if they cannot be read.
        """
        while count := read_into(self._descriptor, self._buffer[:max(end - self._position, 0)], self._position):
            data = self._buffer[:count]
            self._sha256.update(data)
            self.crc = crc32(data, self.crc)
            self._position += count

    def finish(self, nbytes: int) -> WrittenFile:
        """Close the file, and return it as recorded in a manifest.

        Raises:
            OSError: if fewer bytes were read than the file should have.
        """
        self._close()
        if self._position < nbytes:
            raise OSError(errno.EIO, f"{self._path.name} was truncated while it was written")
        return WrittenFile(self._path.name, nbytes, self._sha256.hexdigest())


class DurableWriter:
    """Write a file in batches; `grown` is called with the size of the file after each batch."""

    def __init__(self, descriptor: int) -> None:
        self.nbytes = 0
        self.grown: Callable[[int], Any] = lambda nbytes: None
        self._descriptor = descriptor
        self._small = bytearray()
        self._flushed = 0

    def write(self, data: Data) -> None:
        """Append bytes."""
        if len(data) >= _BATCH_SIZE:
            self.flush()
            self._write(data)
            return
        self._small += data
        if len(self._small) >= _BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write the buffered bytes.

        Raises:
            OSError: if they cannot be written.
        """
        small, self._small = self._small, bytearray()
        if small:
            self._write(small)

    def _write(self, data: Union[Data, bytearray]) -> None:
        _write_all(self._descriptor, data)
        self.nbytes += len(data)
        self.grown(self.nbytes)
        progress.advance(len(data))
        if self.nbytes >= self._flushed + _FLUSH_INTERVAL:
            begin, self._flushed = self._flushed, self.nbytes
            drop_cache(self._descriptor, begin, self._flushed - begin)  # starts the writeback


@contextmanager
def open_durable(path: Path) -> Iterator[DurableWriter]:
    """Create a file; when the block ends, it is flushed to the disk.

    Raises:
        OSError: if the file exists, or cannot be written.
    """
    with open(path, "xb", buffering=0) as stream:
        file = DurableWriter(stream.fileno())
        yield file
        file.flush()
        os.fsync(stream.fileno())


def _write_all(descriptor: int, data: Union[Data, bytearray]) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # a full disk or a signal may interrupt it
        written += os.write(descriptor, memoryview(data)[written:])
