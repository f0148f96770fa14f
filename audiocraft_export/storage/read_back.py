"""Compare a written file with what was written to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from .. import progress
from ..errors import CheckpointError
from .checksum import crc32
from .file_reader import FileReader
from .platform import drop_cache
from .threads import map_two

_LARGE = 1 << 24  # bytes; smaller files are read in one thread


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


def compare(path: Path, parts: Sequence[Part], from_disk: bool) -> None:
    """Compare every byte of a file with its parts.

    Args:
        path: the file, flushed to its disk.
        parts: what was written.
        from_disk: whether to drop the file from the page cache before.

    Raises:
        CheckpointError: if the file cannot be read, or differs.
    """
    file, begins = FileReader(path, "written"), [*accumulate((part.size for part in parts), initial=0)]
    nbytes = begins[-1]
    if from_disk:
        drop_cache(file.descriptor)
    if file.nbytes != nbytes:
        raise CheckpointError("read-back-failed", f"{path.name} has {file.nbytes} bytes, {nbytes} were written")

    def check(index: int) -> None:
        part, begin = parts[index], begins[index] + len(parts[index].frame)
        crc = 0
        for piece in file.read(begin, begins[index + 1]):
            crc = crc32(piece, crc)
        if file.read_bytes(begins[index], begin) != part.frame or crc != part.crc:
            raise CheckpointError("read-back-failed", f"bytes {begins[index]} to {begins[index + 1]} of {path.name} "
                                  "differ from what was written")

    if nbytes >= _LARGE:
        map_two(check, range(len(parts)), then=lambda index: progress.advance(parts[index].size))
    else:
        for index, part in enumerate(parts):
            check(index)
            progress.advance(part.size)
