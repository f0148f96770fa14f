"""Parse the central directory of a zip file."""

import io
import struct
import zipfile

import pytest
import torch

from audiocraft_export.checkpoint.zip_directory import (
    END,
    END_SIGNATURE,
    END_SIZE,
    ENTRY,
    ENTRY_SIGNATURE,
    FLAGS,
    MAX_UINT32,
    directory_begin,
    end_of_directory,
    parse_directory,
)

NAME = b"archive/data.pkl"


def directory(extra=b"", nbytes=7, packed=7, offset=0, comment=b"", name=NAME):
    """Return a central directory with one entry and its end, at offset 100."""
    sizes = 5, packed, nbytes, len(name), len(extra), len(comment)
    entry = ENTRY.pack(ENTRY_SIGNATURE, 0, 0, FLAGS, 0, 0, 0, *sizes, 0, 0, 0, offset) + name + extra + comment
    return entry + END.pack(END_SIGNATURE, 0, 0, 1, 1, len(entry), 100, 0)


@pytest.mark.parametrize("count", [1, 70_000])  # more than 65,535 records take the zip64 structures
def test_records_are_those_of_zipfile(count):
    stream = io.BytesIO()
    if count == 1:
        torch.save({"w": torch.ones(2)}, stream)
    else:
        with zipfile.ZipFile(stream, "w") as archive:
            for index in range(count):
                archive.writestr(zipfile.ZipInfo(f"a/{index}"), b"x")
    data = stream.getvalue()
    begin = directory_begin(data[-END_SIZE:], len(data))
    with zipfile.ZipFile(stream) as archive:
        assert begin == archive.start_dir
        assert [record[:5] for record in parse_directory(data[begin:], begin)] == [
            (info.filename, info.CRC, info.file_size, info.compress_size, info.header_offset)
            for info in archive.infolist()]


def test_values_of_64_bits_are_in_an_extra_field():
    big = 0xFFFFFFFF
    field = struct.pack("<2H2Q", 1, 16, 1 << 40, 1 << 41)
    record, = parse_directory(directory(struct.pack("<2HL", 9, 4, 0) + field, big, 7, big, b"comment"), 100)
    assert (record.nbytes, record.packed, record.offset) == (1 << 40, 7, 1 << 41)


def test_the_end_has_zip64_structures_only_with_versions_and_markers_for_large_numbers():
    assert end_of_directory(1, 62, 100) == directory()[-END.size:]
    end = end_of_directory(1 << 16, 1 << 33, 1 << 32, (45, 20))
    assert len(end) == END_SIZE and struct.unpack_from("<2H", end, 12) == (45, 20)
    assert END.unpack(end[-END.size:])[3:7] == (0xFFFF, 0xFFFF, MAX_UINT32, MAX_UINT32)
    assert directory_begin(end, (1 << 32) + (1 << 33) + END_SIZE) == 1 << 32


@pytest.mark.parametrize(("data", "says"), [
    (directory(struct.pack("<2HQ", 1, 8, 9), 0xFFFFFFFF, 0xFFFFFFFF), "invalid zip64 field"),
    (directory(struct.pack("<2H", 1, 8)), "invalid extra field"),
    (directory(name=b"archive/data.pkl\0x"), "unexpected record"),
    (directory(struct.pack("<2HB", 0x7075, 1, 1)), "unexpected record"),
    (directory() + b"x", "invalid central directory"), (directory()[1:], "invalid central directory")],
    ids=["zip64", "extra", "nul", "unicode", "more", "less"])
def test_a_directory_that_torch_reads_otherwise_is_refused(data, says):
    with pytest.raises(ValueError, match=says):
        parse_directory(data, 100)


def test_a_directory_that_is_cut_is_refused():
    for size in range(len(directory())):
        with pytest.raises((ValueError, struct.error)):
            parse_directory(directory()[:size], 100)
