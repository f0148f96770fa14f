"""Lazily read byte ranges with an expected CRC-32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol, Union

from ..errors import RESTORE, CheckpointError
from .checksum import crc32

CHUNK_SIZE = 1 << 20  # bytes; small enough that a chunk stays in the CPU cache while it is hashed and written
Data = Union[bytes, memoryview]


class Sink(Protocol):
    """A stream that bytes are written to, chunk by chunk; the caller must not change them afterwards."""

    def write(self, data: Data, /) -> Any:
        """Append bytes."""


@dataclass(eq=False)
class LazyBytes:
    """The bytes of a record, read on demand."""

    nbytes: int
    read: Callable[[int, int], Iterator[Data]]  # yields the bytes between two positions in chunks
    crc: Optional[int] = None  # expected CRC-32, if known
    name: str = "data"  # name in error messages
    parent: Optional[LazyBytes] = None  # the record that this one is a slice of; its CRC-32 is checked first
    _sound: bool = False

    @classmethod
    def from_data(cls, data: Data) -> LazyBytes:
        """Wrap bytes in memory."""
        return cls(len(data), lambda begin, end: iter_chunks(data, begin, end))

    def iter_chunks(self) -> Iterator[Data]:
        """Yield all bytes in chunks; the caller passes the CRC-32 of all chunks to `check_crc` afterwards.

        Raises:
            CheckpointError: if the bytes cannot be read, or the parent record is corrupted.
        """
        if self.parent is not None:
            self.parent.verify()
        return self.read(0, self.nbytes)

    def check_crc(self, crc: int) -> None:
        """Compare the CRC-32 of all bytes with the expected one.

        Raises:
            CheckpointError: if they differ.
        """
        if self.crc not in (None, crc):
            raise CheckpointError("corrupted-file", f"{self.name} is corrupted: its CRC-32 differs", RESTORE)
        self._sound = True

    def iter_checked(self) -> Iterator[Data]:
        """Yield all bytes in chunks, and check the CRC-32 after the last chunk.

        Raises:
            CheckpointError: if the bytes cannot be read, or are corrupted.
        """
        crc = 0
        for piece in self.iter_chunks():
            crc = crc32(piece, crc)
            yield piece
        self.check_crc(crc)

    def copy_to(self, stream: Sink, checked: bool) -> int:
        """Write all bytes to a stream.

        Args:
            stream: the destination.
            checked: whether to compute the CRC-32 and compare it with the expected one.

        Returns:
            The CRC-32 of the bytes: the expected one, if it is known and `checked` is false.

        Raises:
            CheckpointError: if the bytes cannot be read, or are corrupted.
        """
        expected = None if checked else self.crc
        crc, nbytes = expected or 0, 0
        for piece in self.iter_chunks():
            nbytes += len(piece)
            if expected is None:
                crc = crc32(piece, crc)
            stream.write(piece)
        if nbytes != self.nbytes:
            raise CheckpointError("corrupted-file", f"{self.name}: expected {self.nbytes} bytes, got {nbytes}",
                                  "export again")
        if expected is None:
            self.check_crc(crc)
        return crc

    def verify(self) -> None:
        """Check the CRC-32 of all bytes, unless that was done before.

        Raises:
            CheckpointError: if the bytes cannot be read, or are corrupted.
        """
        if not self._sound:
            for _ in self.iter_checked():
                pass

    def read_checked(self, begin: int = 0, end: Optional[int] = None) -> bytes:
        """Return the bytes between two positions, after checking the CRC-32 of all bytes.

        Raises:
            CheckpointError: if the bytes cannot be read, or are corrupted.
        """
        self.verify()
        return b"".join(self.read(begin, self.nbytes if end is None else end))

    def slice(self, begin: int, nbytes: int) -> LazyBytes:
        """Return `nbytes` bytes from a position as a separate record."""
        return LazyBytes(nbytes, lambda first, last: self.read(begin + first, begin + last),
                         name=self.name, parent=self)


def iter_chunks(data: Data, begin: int, end: int) -> Iterator[Data]:
    """Yield the bytes in memory between two positions in chunks."""
    view = memoryview(data)
    for first in range(begin, end, CHUNK_SIZE):
        yield view[first:min(first + CHUNK_SIZE, end)]


def slice_stream(stream: Iterable[Data], begin: int, end: int) -> Iterator[Data]:
    """Yield the bytes between two positions of a stream that is read from its start."""
    position = 0
    for piece in stream:
        if position >= end:
            return
        found = piece[max(begin - position, 0):end - position]
        if found:
            yield found
        position += len(piece)
