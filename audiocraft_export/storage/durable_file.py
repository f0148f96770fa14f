"""A file that is on the disk when it is finished, and hashed by then."""

from __future__ import annotations

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

_BATCH_SIZE = 1 << 16  # bytes: fewer are not worth another thread and a call of the system
_FLUSH_INTERVAL = 8 << 20  # bytes after which the disk is told to begin: little is left to wait for at the end


@dataclass(frozen=True)
class WrittenFile:
    """One file of a release, as written.

    Args:
        name: in the release folder.
        bytes: its size.
        sha256: of its bytes.
    """

    name: str
    bytes: int
    sha256: str


class HashingWriter:
    """A file that is being written.

    `nbytes` is how many bytes it has, and `sha256` their hash, both when it is finished.

    Args:
        stream: where they go.
        update: takes them to be hashed.
    """

    def __init__(self, stream: BinaryIO, update: Callable[[Data], None]) -> None:
        self.nbytes = 0
        self.sha256 = ""
        self._stream, self._update = stream, update
        self._small: list[Data] = []
        self._waiting = self._begun = 0

    def write(self, data: Data) -> None:
        """Append bytes, which must not change any more."""
        if len(data) >= _BATCH_SIZE:
            self.flush()
        self._small.append(data)
        self._waiting += len(data)
        if self._waiting >= _BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Hash and write what has come together."""
        data = self._small[0] if len(self._small) == 1 else b"".join(self._small)
        self._small, self._waiting = [], 0
        self._update(data)
        self._stream.write(data)
        self.nbytes += len(data)
        progress.advance(len(data))
        if self.nbytes >= self._begun + _FLUSH_INTERVAL and hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # On Linux this starts writing them to the disk, and waits for nothing.
                os.posix_fadvise(self._stream.fileno(), self._begun, self.nbytes - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.nbytes


@contextmanager
def open_durable(path: Path) -> Iterator[HashingWriter]:
    """A new file; when this is left, it is on the disk, and its `sha256` is known.

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
