"""Checksums of streams: CRC-32, with isal where it is installed (several times as fast as zlib), and sha256."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Union

try:
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this platform
    from zlib import crc32

__all__ = ["chunks_of", "crc32", "sha256_of"]
_CHUNK_SIZE = 1 << 20  # bytes that are hashed at once


def chunks_of(path: "os.PathLike[str]") -> Iterator[bytes]:
    """Yield the bytes of a file in chunks.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_SIZE):
            yield chunk


def sha256_of(pieces: Iterable[Union[bytes, memoryview]]) -> str:
    """Return the sha256 of a stream, in hexadecimal."""
    sha256 = hashlib.sha256()
    for piece in pieces:
        sha256.update(piece)
    return sha256.hexdigest()
