"""Small files are read as a whole, and nothing else is."""

import os
import sys

import pytest

from audiocraft_export.storage.small_file import read_small_file


@pytest.mark.parametrize("data", [b"", b"x", b"\r\n" * 4])
def test_a_file_up_to_the_limit_is_read_as_it_is(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    assert read_small_file(tmp_path / "file", 8) == read_small_file(str(tmp_path / "file"), 8) == data


def test_a_larger_file_a_folder_and_a_missing_file_are_errors(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 9)
    for name, text in ("file", "file is too large"), (".", "not a regular file|ermission"), ("none", "No such file"):
        with pytest.raises(OSError, match=text):
            read_small_file(tmp_path / name, 8)


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_small_file(tmp_path / "pipe", 8)
