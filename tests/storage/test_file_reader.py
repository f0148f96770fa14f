"""A file is read as it was when it was opened, or not at all."""

import os

import pytest

from audiocraft_export import ExportError, export_checkpoint
from audiocraft_export.errors import CheckpointError
from audiocraft_export.storage.file_reader import FileReader
from audiocraft_export.storage.lazy_bytes import CHUNK_SIZE


def test_a_pipe_is_no_checkpoint_and_nobody_waits_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "checkpoint.th")
    with pytest.raises(ExportError, match="no regular file"):
        export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "out")


def test_a_range_is_read_in_chunks(tmp_path):
    data = bytes(range(256)) * (CHUNK_SIZE // 128)
    (tmp_path / "file").write_bytes(data)
    chunks = [*FileReader(tmp_path / "file", "data").read(3, len(data) - 5)]
    assert b"".join(chunks) == data[3:-5] and max(map(len, chunks)) == CHUNK_SIZE < len(data)


def test_a_file_that_replaces_an_open_one_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b"first")
    reader = FileReader(tmp_path / "file", "data")
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "other").replace(tmp_path / "file")
    assert reader.read_bytes(0, 5) == b"first"


def test_a_file_that_is_written_to_after_it_was_opened_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"first")
    reader = FileReader(tmp_path / "file", "data")
    with open(tmp_path / "file", "ab") as stream:
        stream.write(b" and more")
    with pytest.raises(CheckpointError, match="was written to while it was read"):
        reader.read_bytes(0, 5)
