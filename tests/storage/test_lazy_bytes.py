"""Read byte ranges on demand, and check their CRC-32."""

import zlib

import pytest

from audiocraft_export.errors import CheckpointError
from audiocraft_export.storage.lazy_bytes import LazyBytes, iter_chunks, slice_stream

DATA = bytes(range(200))


def lazy(crc):
    return LazyBytes(len(DATA), lambda begin, end: iter_chunks(DATA, begin, end), crc, "record")


def test_bytes_with_the_right_crc_are_read_whole_and_in_part():
    record = lazy(zlib.crc32(DATA))
    assert record.read_checked() == DATA and record.read_checked(5, 9) == DATA[5:9]
    assert b"".join(record.slice(10, 20).iter_checked()) == DATA[10:30]


@pytest.mark.parametrize("read", [
    LazyBytes.verify, LazyBytes.read_checked, lambda record: [*record.iter_checked()],
    lambda record: [*record.slice(1, 2).iter_chunks()]], ids=["verify", "whole", "chunks", "slice"])
def test_corrupted_bytes_are_refused_by_name(read):
    with pytest.raises(CheckpointError, match="record is corrupted: its CRC-32 differs") as error:
        read(lazy(zlib.crc32(DATA) ^ 1))
    assert error.value.code == "corrupted-file"


@pytest.mark.parametrize(("begin", "end"), [(0, 6), (1, 5), (2, 4), (3, 3), (5, 9)])
def test_a_stream_is_sliced_like_bytes(begin, end):
    assert b"".join(slice_stream(iter([b"ab", b"cd", b"ef"]), begin, end)) == b"abcdef"[begin:end]
