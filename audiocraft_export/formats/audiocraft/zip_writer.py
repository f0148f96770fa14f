"""Write the zip container of `torch.save` record by record.

The bytes that `torch.save` and `zipfile` write differ between versions; here the same content always gives the same
file.
"""

import struct
import zlib
from collections.abc import Iterable

from ...checkpoint.zip_reader import (
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    ENTRY,
    ENTRY_SIGNATURE,
    FLAGS,
    LOCAL_HEADER,
    LOCAL_SIGNATURE,
    LOCATOR,
    LOCATOR_SIGNATURE,
)
from ...errors import CheckpointError
from ...storage.lazy_bytes import LazyBytes, Sink

ROOT = "archive"
ALIGNMENT = 64  # bytes, as torch.save aligns storages
_MAX_UINT32 = 0xFFFFFFFF  # a number that 32 bits do not hold


def write_torch_zip(stream: Sink, records: Iterable[tuple[str, LazyBytes]], checked: bool = True) -> None:
    """Write records, names and bytes in the order of the file, as `torch.save` does.

    Args:
        checked: whether bytes whose CRC-32 is known are compared with it now; if not, reading them back will show it.

    Raises:
        CheckpointError: if bytes read from a checkpoint are damaged.
    """
    offset, count, directory = 0, 0, b""
    for name, blob in records:
        path = f"{ROOT}/{name}".encode()
        header = _local_header(path, offset)
        stream.write(header)
        crc, nbytes = copy_blob(blob, stream, checked), blob.nbytes
        sizes = "QQ" if nbytes >= _MAX_UINT32 else "LL"
        end = struct.pack(f"<4sL{sizes}", b"PK\7\x08", crc, nbytes, nbytes)  # section 4.3.9
        stream.write(end)
        directory += _directory_entry(path, crc, nbytes, offset)
        offset += len(header) + nbytes + len(end)
        count += 1
    stream.write(directory)
    stream.write(_end_of_directory(count, len(directory), offset))


def copy_blob(blob: LazyBytes, stream: Sink, checked: bool) -> int:
    """Write the bytes of a record; returns the CRC-32 that they have, or should have.

    Raises:
        CheckpointError: if they are damaged.
    """
    known = None if checked else blob.crc
    crc, nbytes = known or 0, 0
    for piece in blob.iter_chunks():
        nbytes += len(piece)
        if known is None:
            crc = zlib.crc32(piece, crc)
        stream.write(piece)
    if nbytes != blob.nbytes:
        raise CheckpointError(f"{blob.name} has {nbytes} bytes where {blob.nbytes} belong: export again.")
    if known is None:
        blob.check_crc(crc)
    return crc


# The structures of a zip file, by the sections of PKWARE's APPNOTE.TXT. Sizes of 64 bits only where 32 do not suffice:
# the reader of torch 2.1 takes no others.

def _local_header(path: bytes, offset: int) -> bytes:
    """Sections 4.3.7; with an extra field that moves the bytes after it to a multiple of ALIGNMENT."""
    pad = -(offset + LOCAL_HEADER.size + len(path) + 4) % ALIGNMENT
    extra = struct.pack("<2sH", b"FB", pad) + b"Z" * pad
    return LOCAL_HEADER.pack(LOCAL_SIGNATURE, 0, FLAGS, 0, 0, 0, 0, 0, 0, len(path), len(extra)) + path + extra


def _directory_entry(path: bytes, crc: int, nbytes: int, offset: int) -> bytes:
    """Sections 4.3.12 and 4.5.3."""
    large = [number for number in (nbytes, nbytes, offset) if number >= _MAX_UINT32]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size = _to_uint32(nbytes)
    return ENTRY.pack(ENTRY_SIGNATURE, 0, 0, FLAGS, 0, 0, 0, crc, size, size, len(path), len(extra), 0, 0, 0, 0,
                      _to_uint32(offset)) + path + extra


def _end_of_directory(count: int, size: int, offset: int) -> bytes:
    """Sections 4.3.14 to 4.3.16."""
    end = b""
    if count >= 0xFFFF or size >= _MAX_UINT32 or offset >= _MAX_UINT32:
        end = END64.pack(END64_SIGNATURE, 44, 45, 45, 0, 0, count, count, size, offset)
        end += LOCATOR.pack(LOCATOR_SIGNATURE, 0, offset + size, 1)
    return end + END.pack(END_SIGNATURE, 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), _to_uint32(size),
                          _to_uint32(offset), 0)


def _to_uint32(number: int) -> int:
    """A number in 32 bits, or the marker that it is stored elsewhere in 64."""
    return number if number < _MAX_UINT32 else 0xFFFFFFFF
