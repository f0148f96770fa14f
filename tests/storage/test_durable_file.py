"""Write files that are flushed to the disk, and hash them while they are written."""

from hashlib import sha256
from zlib import crc32

import pytest

from audiocraft_export.storage.durable_file import FileHash, WrittenFile, open_durable


@pytest.mark.parametrize("chunks", [
    [], [b"x"], [b"a" * 10] * 9999, [b"b" * (1 << 20)] * 20, [b"s", b"l" * 99999, b"s"],
], ids=["none", "one", "small", "large", "mixed"])
def test_chunks_of_any_size_are_written_in_order_and_hashed(tmp_path, chunks):
    with open_durable(tmp_path / "file") as file:
        file_hash = FileHash(tmp_path / "file")
        file.grown = file_hash.read_to
        for chunk in chunks:
            file.write(chunk)
    data = b"".join(chunks)
    assert (tmp_path / "file").read_bytes() == data
    assert file_hash.finish(len(data)) == WrittenFile("file", len(data), sha256(data).hexdigest())
    assert file_hash.crc == crc32(data)


def test_a_chunk_may_change_after_it_was_written(tmp_path):
    chunk = bytearray(70_000)
    with open_durable(tmp_path / "file") as file:
        for number in range(9):
            chunk[:] = bytes([number]) * len(chunk)
            file.write(memoryview(chunk))
    assert (tmp_path / "file").read_bytes() == b"".join(bytes([number]) * len(chunk) for number in range(9))


def test_a_file_that_is_truncated_while_it_is_hashed_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"short")
    file_hash = FileHash(tmp_path / "file")
    file_hash.read_to(6)
    with pytest.raises(OSError, match="file was truncated while it was written"):
        file_hash.finish(6)


def test_bytes_that_appear_only_when_the_file_is_closed_are_hashed_then(tmp_path):
    (tmp_path / "file").touch()
    file_hash = FileHash(tmp_path / "file")
    file_hash.read_to(4)
    (tmp_path / "file").write_bytes(b"data")
    file_hash.read_to(4)
    assert file_hash.finish(4).sha256 == sha256(b"data").hexdigest()


def test_an_existing_file_is_never_opened(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError), open_durable(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"
