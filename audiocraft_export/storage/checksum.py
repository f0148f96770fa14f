"""Checksums of streams: CRC-32, with isal where it is installed (several times as fast as zlib), and sha256."""

import hashlib
from collections.abc import Iterable
from typing import Union

try:
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this platform
    from zlib import crc32

__all__ = ["crc32", "sha256_of"]


def sha256_of(pieces: Iterable[Union[bytes, memoryview]]) -> str:
    """Return the sha256 of a stream, in hexadecimal."""
    sha256 = hashlib.sha256()
    for piece in pieces:
        sha256.update(piece)
    return sha256.hexdigest()
