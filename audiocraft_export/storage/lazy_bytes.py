"""Bytes that nobody has read yet, and the CRC-32 that they must have."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol, Union

from ..errors import CheckpointError

CHUNK_SIZE = 1 << 18  # bytes at a time: they stay in the cache of the processor while they are hashed and written
Data = Union[bytes, memoryview]


class Sink(Protocol):
    """Where bytes go, one piece after the other; they must not change afterwards."""

    def write(self, data: Data, /) -> Any:
        """Append them."""


@dataclass(eq=False)
class LazyBytes:
    """The bytes of one record: where they come from, not the bytes themselves.

    Args:
        nbytes: how many.
        read: gives those from one position to another, piece by piece, when it is their turn.
        crc: CRC-32 that they must have, if it is known.
        name: what to call them in an error.
        parent: the record that these bytes are a part of: it has to be sound first.
    """

    nbytes: int
    read: Callable[[int, int], Iterator[Data]]
    crc: Optional[int] = None
    name: str = "data"
    parent: Optional[LazyBytes] = None
    _sound: bool = False

    @classmethod
    def from_data(cls, data: Data) -> LazyBytes:
        """Bytes in memory."""
        return cls(len(data), lambda begin, end: iter_chunks(data, begin, end))

    def iter_chunks(self) -> Iterator[Data]:
        """All of them; whoever reads them gives their CRC-32 to `check_crc` afterwards.

        Raises:
            CheckpointError: if they cannot be read, or are part of a record that is damaged.
        """
        if self.parent is not None:
            self.parent.verify()
        return self.read(0, self.nbytes)

    def check_crc(self, crc: int) -> None:
        """Compare the CRC-32 that the bytes turned out to have.

        Raises:
            CheckpointError: if they are damaged.
        """
        if self.crc not in (None, crc):
            raise CheckpointError(f"{self.name} is damaged (its CRC-32 differs): restore the file from a copy.")
        self._sound = True

    def iter_checked(self) -> Iterator[Data]:
        """All of them; their CRC-32 is compared after the last one.

        Raises:
            CheckpointError: if they are damaged.
        """
        crc = 0
        for piece in self.iter_chunks():
            crc = zlib.crc32(piece, crc)
            yield piece
        self.check_crc(crc)

    def verify(self) -> None:
        """Read all of them (the first time), and compare their CRC-32.

        Raises:
            CheckpointError: if they are damaged.
        """
        if not self._sound:
            for _ in self.iter_checked():
                pass

    def read_checked(self, begin: int = 0, end: Optional[int] = None) -> bytes:
        """The bytes from one position to another, in memory, after comparing the CRC-32 of all.

        Raises:
            CheckpointError: if they are damaged.
        """
        self.verify()
        return b"".join(self.read(begin, self.nbytes if end is None else end))

    def slice(self, begin: int, nbytes: int) -> LazyBytes:
        """Some of the bytes."""
        return LazyBytes(nbytes, lambda first, last: self.read(begin + first, begin + last), name=self.name, parent=self)


def iter_chunks(data: Data, begin: int, end: int) -> Iterator[Data]:
    """Bytes in memory from one position to another, piece by piece."""
    view = memoryview(data)
    for first in range(begin, end, CHUNK_SIZE):
        yield view[first:min(first + CHUNK_SIZE, end)]


def slice_stream(stream: Iterable[Data], begin: int, end: int) -> Iterator[Data]:
    """Of bytes that can only be had from the first one on, those from one position to another."""
    position = 0
    for piece in stream:
        if position >= end:
            return
        found = piece[max(begin - position, 0):end - position]
        if found:
            yield found
        position += len(piece)
