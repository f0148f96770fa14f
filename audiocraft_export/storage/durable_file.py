"""Write a file with fsync, hashing it on the fly."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, TypeVar

from .. import progress
from .lazy_bytes import Data
from .platform import drop_cache
from .threads import background

_BATCH_SIZE = 1 << 17  # bytes; smaller chunks are joined, because each chunk costs system calls and a queue item
_FLUSH_INTERVAL = 2 << 20  # bytes after which writeback is started, which shortens the final fsync

T = TypeVar("T")


@dataclass(frozen=True)
class WrittenFile:
    """Name, size in bytes and sha256 of a written file of a release."""

    name: str
    bytes: int
    sha256: str


class HashingWriter:
    """Write a file and pass all bytes to a hash function.

    Args:
        descriptor: the file.
        update: the `update` method of a hash.
    """

    def __init__(self, descriptor: int, update: Callable[[Data], None]) -> None:
        self.nbytes = 0
        self._descriptor, self._update = descriptor, update
        self._small: list[Data] = []
        self._waiting = self._flushed = 0

    def write(self, data: Data) -> None:
        """Append bytes, which the caller must not change afterwards.

        Raises:
            OSError: as `flush`.
        """
        if len(data) >= _BATCH_SIZE:
            self.flush()
        self._small.append(data)
        self._waiting += len(data)
        if self._waiting >= _BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Hash and write the buffered bytes.

        Raises:
            OSError: if they cannot be written.
        """
        if not self._waiting:
            return
        data = self._small[0] if len(self._small) == 1 else b"".join(self._small)
        self._small, self._waiting = [], 0
        self._update(data)
        _write_all(self._descriptor, data)
        self.nbytes += len(data)
        progress.advance(len(data))
        if self.nbytes >= self._flushed + _FLUSH_INTERVAL:
            begin, self._flushed = self._flushed, self.nbytes
            drop_cache(self._descriptor, begin, self._flushed - begin)  # starts the writeback


def write_durable(path: Path, write: Callable[[HashingWriter], T],
                  check: Callable[[T], Any] = lambda result: None) -> WrittenFile:
    """Create a file, and flush it to the disk.

    Args:
        path: the file.
        write: writes the content.
        check: called with the result of `write` once the file is on the disk, while the last bytes are hashed.

    Raises:
        OSError: if the file exists, or cannot be written.
        Exception: any error of `write` and `check`.
    """
    sha256 = hashlib.sha256()
    with open(path, "xb", buffering=0) as stream, background(sha256.update) as update:
        file = HashingWriter(stream.fileno(), update)
        result = write(file)
        file.flush()
        os.fsync(stream.fileno())
        check(result)
    return WrittenFile(path.name, file.nbytes, sha256.hexdigest())


def _write_all(descriptor: int, data: Data) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # a full disk or a signal may interrupt it
        written += os.write(descriptor, memoryview(data)[written:])
