"""Lazily read byte ranges with an expected CRC-32."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol, Union

from ..errors import CheckpointError

CHUNK_SIZE = 1 << 18  # bytes; a chunk stays in the processor's cache while it is hashed and written
Data = Union[bytes, memoryview]


class Sink(Protocol):
    """Takes bytes, one chunk after the other; they must not change afterwards."""

    def write(self, data: Data, /) -> Any:
        """Append them."""


@dataclass(eq=False)
class LazyBytes:
    """The bytes of a record, read when they are needed."""

    nbytes: int
    read: Callable[[int, int], Iterator[Data]]  # yields the bytes from one position to another in chunks
    crc: Optional[int] = None  # their expected CRC-32, if it is known
    name: str = "data"  # in error messages
    parent: Optional[LazyBytes] = None  # the record that these bytes are a slice of; its CRC-32 is checked first
    _sound: bool = False

    @classmethod
    def from_data(cls, data: Data) -> LazyBytes:
        """Wrap bytes in memory."""
        return cls(len(data), lambda begin, end: iter_chunks(data, begin, end))

    def iter_chunks(self) -> Iterator[Data]:
        """Yield all bytes in chunks; the caller passes their CRC-32 to `check_crc` afterwards.

        Raises:
            CheckpointError: if they cannot be read, or the parent is damaged.
        """
        if self.parent is not None:
            self.parent.verify()
        return self.read(0, self.nbytes)

    def check_crc(self, crc: int) -> None:
        """Compare the CRC-32 of the bytes that were read with the expected one.

        Raises:
            CheckpointError: if they are damaged.
        """
        if self.crc not in (None, crc):
            raise CheckpointError(f"{self.name} is damaged (its CRC-32 differs): restore the file from a copy.")
        self._sound = True

    def iter_checked(self) -> Iterator[Data]:
        """Yield all bytes in chunks, and check their CRC-32 after the last one.

        Raises:
            CheckpointError: if they are damaged.
        """
        crc = 0
        for piece in self.iter_chunks():
            crc = zlib.crc32(piece, crc)
            yield piece
        self.check_crc(crc)

    def verify(self) -> None:
        """Check the CRC-32 of all bytes, once.

        Raises:
            CheckpointError: if they are damaged.
        """
        if not self._sound:
            for _ in self.iter_checked():
                pass

    def read_checked(self, begin: int = 0, end: Optional[int] = None) -> bytes:
        """The bytes from one position to another, after checking the CRC-32 of all.

        Raises:
            CheckpointError: if they are damaged.
        """
        self.verify()
        return b"".join(self.read(begin, self.nbytes if end is None else end))

    def slice(self, begin: int, nbytes: int) -> LazyBytes:
        """Some of the bytes."""
        return LazyBytes(nbytes, lambda first, last: self.read(begin + first, begin + last),
                         name=self.name, parent=self)


def iter_chunks(data: Data, begin: int, end: int) -> Iterator[Data]:
    """Yield bytes in memory from one position to another in chunks."""
    view = memoryview(data)
    for first in range(begin, end, CHUNK_SIZE):
        yield view[first:min(first + CHUNK_SIZE, end)]


def slice_stream(stream: Iterable[Data], begin: int, end: int) -> Iterator[Data]:
    """Yield the bytes from one position to another of a stream that is read from its start."""
    position = 0
    for piece in stream:
        if position >= end:
            return
        found = piece[max(begin - position, 0):end - position]
        if found:
            yield found
        position += len(piece)
