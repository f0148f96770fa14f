"""Compare a written file with what was written to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import progress
from ..errors import CheckpointError
from .checksum import crc32
from .file_reader import FileReader


@dataclass(frozen=True)
class Part:
    """A part of a file: some bytes, and content that follows them, of which only the CRC-32 is known."""

    frame: bytes
    nbytes: int = 0  # size of the content
    crc: int = 0

    @property
    def size(self) -> int:
        """Number of bytes in the file."""
        return len(self.frame) + self.nbytes


def compare(path: Path, parts: Sequence[Part]) -> int:
    """Compare every byte of a file with its parts, and return the CRC-32 of the file.

    Args:
        path: the file, flushed to its disk.
        parts: what was written.

    Raises:
        CheckpointError: if the file cannot be read, or differs.
    """
    file, end, whole = FileReader(path, "written"), 0, 0
    nbytes = sum(part.size for part in parts)
    if file.nbytes != nbytes:
        raise CheckpointError("read-back-failed", f"{path.name} has {file.nbytes} bytes, {nbytes} were written")
    for part in parts:
        begin, content, end = end, end + len(part.frame), end + part.size
        frame, crc = file.read_bytes(begin, content), 0
        whole = crc32(frame, whole)
        for piece in file.read(content, end):
            crc, whole = crc32(piece, crc), crc32(piece, whole)
        if frame != part.frame or crc != part.crc:
            raise CheckpointError("read-back-failed", f"bytes {begin} to {end} of {path.name} differ from what was "
                                  "written")
        progress.advance(part.size)
    return whole
