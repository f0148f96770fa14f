"""Write the zip container of `torch.save` record by record.

The bytes that `torch.save` and `zipfile` write differ between versions. This module always gives the same file for
the same content.
"""

import struct
from collections.abc import Iterable

from ...checkpoint.zip_directory import ENTRY, ENTRY_SIGNATURE, FLAGS, MAX_UINT32, end_of_directory
from ...checkpoint.zip_reader import LOCAL_HEADER, LOCAL_SIGNATURE
from ...storage.lazy_bytes import LazyBytes, Sink
from ...storage.read_back import Part

ROOT = "archive"
ALIGNMENT = 64  # bytes, as torch.save aligns storages
_LARGE = MAX_UINT32  # numbers from this value on are stored in 64-bit fields


def write_torch_zip(stream: Sink, records: Iterable[tuple[str, LazyBytes]], checked: bool = True) -> list[Part]:
    """Write records to a zip archive as `torch.save` does.

    Args:
        stream: the destination.
        records: name and bytes of each record, in the order of the file.
        checked: whether to compare bytes with their known CRC-32 while they are read. If not, reading back the file
            finds wrong bytes.

    Returns:
        The parts of the archive, one for each record and one for its end.

    Raises:
        CheckpointError: if bytes of a checkpoint are corrupted.
    """
    offset, directory, parts, frame = 0, b"", list[Part](), b""
    for name, blob in records:
        path = f"{ROOT}/{name}".encode()
        begin = offset + len(frame)
        frame += _local_header(path, begin)
        stream.write(frame)
        part = Part(frame, blob.nbytes, blob.copy_to(stream, checked))
        parts.append(part)
        frame = _descriptor(part.crc, part.nbytes)
        directory += _directory_entry(path, part.crc, part.nbytes, begin)
        offset += part.size
    end = frame + directory + _end_of_directory(len(parts), len(directory), offset + len(frame))
    stream.write(end)
    return [*parts, Part(end)]


def zip_size(records: Iterable[tuple[str, int]]) -> int:
    """Return the size of the archive of `write_torch_zip` for the names and the sizes of its records."""
    count = offset = directory = 0
    for name, nbytes in records:
        path = f"{ROOT}/{name}".encode()
        directory += len(_directory_entry(path, 0, nbytes, offset))
        offset += len(_local_header(path, offset)) + nbytes + len(_descriptor(0, nbytes))
        count += 1
    return offset + directory + len(_end_of_directory(count, directory, offset))


# The structures of a zip file; section numbers are those of PKWARE's APPNOTE.TXT. Sizes use 64-bit fields only if they
# do not fit into 32 bits, because the reader of torch 2.1 requires that.

def _local_header(path: bytes, offset: int) -> bytes:
    """Build a local file header (section 4.3.7), padded so that the data starts at a multiple of ALIGNMENT."""
    pad = -(offset + LOCAL_HEADER.size + len(path) + 4) % ALIGNMENT
    extra = struct.pack("<2sH", b"FB", pad) + b"Z" * pad
    return LOCAL_HEADER.pack(LOCAL_SIGNATURE, 0, FLAGS, 0, 0, 0, 0, 0, 0, len(path), len(extra)) + path + extra


def _descriptor(crc: int, nbytes: int) -> bytes:
    """Build a data descriptor (section 4.3.9), which follows the data of a record."""
    sizes = "QQ" if nbytes >= _LARGE else "LL"
    return struct.pack(f"<4sL{sizes}", b"PK\7\x08", crc, nbytes, nbytes)


def _directory_entry(path: bytes, crc: int, nbytes: int, offset: int) -> bytes:
    """Build an entry of the central directory (sections 4.3.12 and 4.5.3)."""
    large = [number for number in (nbytes, nbytes, offset) if number >= _LARGE]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, begin = (number if number < _LARGE else MAX_UINT32 for number in (nbytes, offset))
    return ENTRY.pack(ENTRY_SIGNATURE, 0, 0, FLAGS, 0, 0, 0, crc, size, size, len(path), len(extra), 0, 0, 0, 0,
                      begin) + path + extra


def _end_of_directory(count: int, size: int, offset: int) -> bytes:
    """Build the end of the central directory (sections 4.3.14 to 4.3.16)."""
    is_large = count >= 0xFFFF or size >= _LARGE or offset >= _LARGE
    return end_of_directory(count, size, offset, (45, 45) if is_large else None)
