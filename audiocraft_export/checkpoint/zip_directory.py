"""Parse the central directory of a zip file (APPNOTE.TXT, 4.3.12 to 4.3.16).

`zipfile` takes three times as long, and `run --all` reads the directory of every checkpoint.
"""

import struct
from functools import partial
from typing import NamedTuple

ENTRY = struct.Struct("<4s6H3L5H2L")  # entry of the central directory, without name, extra field, comment
END, END64, LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
ENTRY_SIGNATURE = b"PK\1\2"
END_SIGNATURE, END64_SIGNATURE, LOCATOR_SIGNATURE = b"PK\5\6", b"PK\6\6", b"PK\6\7"
END_SIZE = END.size + END64.size + LOCATOR.size  # bytes of the end of a zip file, including the zip64 structures
FLAGS = 0x0808  # the only flags of torch: sizes follow the record, names are UTF-8
_UTF_8 = 0x0800
_FOLDER = 0x10  # bit of a folder in the external attributes (MS-DOS)
_MAX_UINT32 = 0xFFFFFFFF  # marks a 32-bit field whose value is stored in the zip64 structures
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
    if data[end:] != _expected_end(data[end:], begin, len(records), end):
        raise ValueError("invalid central directory")
    return records


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
    found = [next(wide, None) if value == _MAX_UINT32 else value for value in values]
    if None in found:
        raise ValueError("invalid zip64 field in the central directory")
    return [value for value in found if value is not None]


def _expected_end(end: bytes, begin: int, count: int, nbytes: int) -> bytes:
    """Return the end of a file whose central directory has `count` entries and `nbytes` bytes, as torch writes it."""
    ends = [END.pack(END_SIGNATURE, 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(nbytes, _MAX_UINT32),
                     min(begin, _MAX_UINT32), 0)]
    if end[:4] == END64_SIGNATURE:
        made_by, needed = struct.unpack_from("<2H", end, 12)
        ends = [END64.pack(END64_SIGNATURE, 44, made_by, needed, 0, 0, count, count, nbytes, begin),
                LOCATOR.pack(LOCATOR_SIGNATURE, 0, begin + nbytes, 1), *ends]
    return b"".join(ends)
