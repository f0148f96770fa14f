"""A file that is on the disk when it is finished, and hashed by then."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Callable

from . import progress
from .blob import Data
from .interrupts import go_on
from .parallel import beside

_AHEAD = 8 << 20  # bytes after which the disk is told to begin: little is left to wait for at the end


class Durable:
    """A file that is being written.

    `nbytes` is how many bytes have been written.

    Args:
        stream: where they go.
        update: takes them to be hashed.
    """

    def __init__(self, stream: BinaryIO, update: Callable[[Data], None]) -> None:
        self.nbytes = 0
        self.sha256 = ""
        self._stream, self._update, self._begun = stream, update, 0

    def write(self, data: Data) -> None:
        """Append bytes, which must not change any more."""
        go_on()
        self._update(data)
        self._stream.write(data)
        self.nbytes += len(data)
        progress.advance(len(data))
        if self.nbytes >= self._begun + _AHEAD and hasattr(os, "posix_fadvise"):
            # On Linux this starts writing them to the disk, and waits for nothing.
            os.posix_fadvise(self._stream.fileno(), self._begun, self.nbytes - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.nbytes


@contextmanager
def durable(path: Path) -> Iterator[Durable]:
    """A new file; when this is left, it is on the disk, and its `sha256` is known.

    Raises:
        OSError: if it is there already, or cannot be written.
    """
    sha256 = hashlib.sha256()
    with open(path, "xb") as stream, beside(sha256.update) as update:
        file = Durable(stream, update)
        yield file
        stream.flush()
        os.fsync(stream.fileno())
    file.sha256 = sha256.hexdigest()
