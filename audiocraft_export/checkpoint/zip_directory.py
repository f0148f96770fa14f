"""Parse the central directory of a zip file, and build its end (APPNOTE.TXT, 4.3.12 to 4.3.16).

`zipfile` takes three times as long, and `run --all` reads the directory of every checkpoint.
"""

import struct
from functools import partial
from typing import NamedTuple, Optional

ENTRY = struct.Struct("<4s6H3L5H2L")  # entry of the central directory, without name, extra field, comment
END, END64, LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
ENTRY_SIGNATURE = b"PK\1\2"
END_SIGNATURE, END64_SIGNATURE, LOCATOR_SIGNATURE = b"PK\5\6", b"PK\6\6", b"PK\6\7"
END_SIZE = END.size + END64.size + LOCATOR.size  # bytes of the end of a zip file, including the zip64 structures
FLAGS = 0x0808  # the only flags of torch: sizes follow the record, names are UTF-8
MAX_UINT32 = 0xFFFFFFFF  # marks a 32-bit field whose value is stored in the zip64 structures
_UTF_8 = 0x0800
_FOLDER = 0x10  # bit of a folder in the external attributes (MS-DOS)
_ZIP64, _UNICODE_PATH = 1, 0x7075  # identifiers of extra fields
_USED = struct.Struct("<8x2H4x3L4H2x2L")  # the fields of `ENTRY` that are used


class Record(NamedTuple):
    """An entry of the central directory."""

    path: str  # name with its folders
    crc: int
    nbytes: int
    packed: int  # bytes in the archive
    offset: int  # of the local header
    is_stored: bool  # as a plain file: not compressed, encrypted, split or a folder; torch reads no others correctly


def directory_begin(end: bytes, size: int) -> int:
    """Return the offset of the central directory.

    Args:
        end: the last `END_SIZE` bytes of the file.
        size: the size of the file.
    """
    if end[-42:-38] == LOCATOR_SIGNATURE:
        return size - END_SIZE - int(struct.unpack("<Q", end[-58:-50])[0])
    return size - END.size - int(struct.unpack("<L", end[-10:-6])[0])


def parse_directory(data: bytes, begin: int) -> list[Record]:
    """Parse the central directory and the end of a zip file.

    Args:
        data: the bytes from the central directory to the end of the file.
        begin: the offset of the central directory.

    Raises:
        ValueError: if they are inconsistent in a field that torch reads.
        struct.error: if they are truncated.
    """
    records: list[Record] = []
    end, unpack, new = 0, _USED.unpack_from, partial(tuple.__new__, Record)  # `Record` itself takes twice as long
    while data[end:end + 4] == ENTRY_SIGNATURE:
        flags, method, crc, packed, nbytes, name_size, extra_size, comment_size, volume, attributes, offset = unpack(
            data, end)
        names = end + ENTRY.size
        path = data[names:names + name_size].decode("utf-8" if flags & _UTF_8 else "cp437")
        if extra_size:
            extra = _extra_fields(data[names + name_size:names + name_size + extra_size])
            nbytes, packed, offset = _wide(extra.get(_ZIP64, b""), nbytes, packed, offset)
        if "\0" in path or extra_size and _UNICODE_PATH in extra:  # some readers cut the name, or replace it
            raise ValueError(f"unexpected record {path!r}")
        is_stored = not (method or nbytes != packed or flags & ~FLAGS or attributes & _FOLDER or volume)
        records.append(new((path, crc, nbytes, packed, offset, is_stored)))
        end = names + name_size + extra_size + comment_size
    versions = struct.unpack_from("<2H", data, end + 12) if data[end:end + 4] == END64_SIGNATURE else None
    if data[end:] != end_of_directory(len(records), end, begin, versions):
        raise ValueError("invalid central directory")
    return records


def end_of_directory(count: int, size: int, offset: int, versions: Optional[tuple[int, int]] = None) -> bytes:
    """Build the bytes after a central directory, as torch writes them.

    Args:
        count: the number of entries of the directory.
        size: the size of the directory in bytes.
        offset: the offset of the directory in the file.
        versions: the made-by and needed versions of the zip64 structures; None for an end without them.
    """
    end = b""
    if versions:
        end = END64.pack(END64_SIGNATURE, 44, *versions, 0, 0, count, count, size, offset)
        end += LOCATOR.pack(LOCATOR_SIGNATURE, 0, offset + size, 1)
    return end + END.pack(END_SIGNATURE, 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(size, MAX_UINT32),
                          min(offset, MAX_UINT32), 0)


def _extra_fields(data: bytes) -> dict[int, bytes]:
    """Return the fields that follow the name of an entry, by their identifiers (APPNOTE.TXT, 4.5)."""
    fields, begin = {}, 0
    while begin + 4 <= len(data):
        identifier, size = struct.unpack_from("<2H", data, begin)
        fields[identifier] = data[begin + 4:begin + 4 + size]
        begin += 4 + size
    if begin > len(data):
        raise ValueError("invalid extra field in the central directory")
    return fields


def _wide(field: bytes, *values: int) -> list[int]:
    """Replace the values that do not fit into 32 bits by those of the zip64 field, which has them in this order."""
    wide = (number for number, in struct.iter_unpack("<Q", field[:len(field) // 8 * 8]))
    found = [next(wide, None) if value == MAX_UINT32 else value for value in values]
    if None in found:
        raise ValueError("invalid zip64 field in the central directory")
    return [value for value in found if value is not None]
