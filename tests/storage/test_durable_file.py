"""Write files that are flushed to the disk, and hash them on the fly."""

import os
from hashlib import sha256

import pytest

from audiocraft_export.storage import durable_file
from audiocraft_export.storage.durable_file import write_durable


@pytest.mark.parametrize("chunks", [
    [], [b"x"], [b"a" * 10] * 9999, [b"b" * (1 << 20)] * 20, [b"s", b"l" * 99999, b"s"],
], ids=["none", "one", "small", "large", "mixed"])
def test_chunks_of_any_size_are_written_in_order_and_hashed(tmp_path, chunks):
    file = write_durable(tmp_path / "file", lambda stream: [*map(stream.write, chunks)])
    data = b"".join(chunks)
    assert (tmp_path / "file").read_bytes() == data
    assert (file.name, file.bytes, file.sha256) == ("file", len(data), sha256(data).hexdigest())


def test_each_large_chunk_is_one_write(tmp_path, monkeypatch):
    sizes, write = [], os.write
    monkeypatch.setattr(durable_file.os, "write", lambda file, data: sizes.append(len(data)) or write(file, data))
    write_durable(tmp_path / "file", lambda stream: [*map(stream.write, [b"l" * (1 << 19)] * 4 + [b"s"])])
    assert sizes == [1 << 19] * 4 + [1]


def test_the_file_is_complete_when_it_is_checked(tmp_path):
    found = []
    write_durable(tmp_path / "file", lambda stream: stream.write(b"data") or "result",
                  lambda result: found.append((result, (tmp_path / "file").read_bytes())))
    assert found == [("result", b"data")]


@pytest.mark.parametrize("moment", ["write", "check"])
def test_an_error_ends_the_work(tmp_path, moment):
    def fail(_):
        raise RuntimeError(moment)
    steps = {"write": lambda stream: stream.write(b"data"), "check": lambda result: None, moment: fail}
    with pytest.raises(RuntimeError, match=moment):
        write_durable(tmp_path / "file", **steps)


def test_an_existing_file_is_never_opened(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        write_durable(tmp_path / "file", lambda stream: stream.write(b"ours"))
    assert (tmp_path / "file").read_text() == "mine"
