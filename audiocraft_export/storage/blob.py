"""Bytes that nobody has read yet, and the CRC-32 that they must have."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol, Union

from ..errors import CheckpointError

PIECE = 1 << 18  # bytes at a time: they stay in the cache of the processor while they are hashed and written
Data = Union[bytes, memoryview]


class Sink(Protocol):
    """Where bytes go, one piece after the other; they must not change afterwards."""

    def write(self, data: Data, /) -> Any:
        """Append them."""


@dataclass(eq=False)
class Blob:
    """The bytes of one record: where they come from, not the bytes themselves.

    Args:
        nbytes: how many.
        read: gives those from one position to another, piece by piece, when it is their turn.
        crc: CRC-32 that they must have, if it is known.
        name: what to call them in an error.
        whole: the record that these bytes are a part of: it has to be sound first.
    """

    nbytes: int
    read: Callable[[int, int], Iterator[Data]]
    crc: Optional[int] = None
    name: str = "data"
    whole: Optional[Blob] = None
    _sound: bool = False

    @classmethod
    def of(cls, data: Data) -> Blob:
        """Bytes in memory."""
        return cls(len(data), lambda begin, end: pieces(data, begin, end))

    def pieces(self) -> Iterator[Data]:
        """All of them; whoever reads them gives their CRC-32 to `check` afterwards.

        Raises:
            CheckpointError: if they cannot be read, or are part of a record that is damaged.
        """
        if self.whole is not None:
            self.whole.verify()
        return self.read(0, self.nbytes)

    def check(self, crc: int) -> None:
        """Compare the CRC-32 that the bytes turned out to have.

        Raises:
            CheckpointError: if they are damaged.
        """
        if self.crc not in (None, crc):
            raise CheckpointError(f"{self.name} is damaged (its CRC-32 differs): restore the file from a copy.")
        self._sound = True

    def checked_pieces(self) -> Iterator[Data]:
        """All of them; their CRC-32 is compared after the last one.

        Raises:
            CheckpointError: if they are damaged.
        """
        crc = 0
        for piece in self.pieces():
            crc = zlib.crc32(piece, crc)
            yield piece
        self.check(crc)

    def verify(self) -> None:
        """Read all of them (the first time), and compare their CRC-32.

        Raises:
            CheckpointError: if they are damaged.
        """
        if not self._sound:
            for _ in self.checked_pieces():
                pass

    def checked(self, begin: int = 0, end: Optional[int] = None) -> bytes:
        """The bytes from one position to another, in memory, after comparing the CRC-32 of all.

        Raises:
            CheckpointError: if they are damaged.
        """
        self.verify()
        return b"".join(self.read(begin, self.nbytes if end is None else end))

    def part(self, begin: int, nbytes: int) -> Blob:
        """Some of the bytes."""
        return Blob(nbytes, lambda first, last: self.read(begin + first, begin + last), name=self.name, whole=self)


def pieces(data: Data, begin: int, end: int) -> Iterator[Data]:
    """Bytes in memory from one position to another, piece by piece."""
    view = memoryview(data)
    for first in range(begin, end, PIECE):
        yield view[first:min(first + PIECE, end)]


def between(stream: Iterable[Data], begin: int, end: int) -> Iterator[Data]:
    """Of bytes that can only be had from the first one on, those from one position to another."""
    position = 0
    for piece in stream:
        if position >= end:
            return
        found = piece[max(begin - position, 0):end - position]
        if found:
            yield found
        position += len(piece)
