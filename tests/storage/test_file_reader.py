"""Read a file as it was when it was opened, or fail."""

import errno
import os
import platform

import pytest
from helpers import run_python

from audiocraft_export import ExportError, export_checkpoint
from audiocraft_export.errors import CheckpointError
from audiocraft_export.storage.file_reader import FileReader
from audiocraft_export.storage.lazy_bytes import CHUNK_SIZE


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "checkpoint.th")
    with pytest.raises(ExportError, match="is not a regular file: expected a torch.save file") as error:
        export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "out")
    assert error.value.code == "wrong-target"


def test_a_directory_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError) as error:
        FileReader(tmp_path, "safetensors")
    assert error.value.args == ("wrong-target", f"{tmp_path} is a directory: expected a safetensors file", "")


@pytest.mark.parametrize(("number", "code", "hint"), [
    (errno.EACCES, "read-failed", "check its permissions"), (errno.EPERM, "read-failed", "check its permissions"),
    (errno.EIO, "read-failed", ""), (errno.ELOOP, "read-failed", ""), (errno.ENOENT, "path-not-found", "")])
def test_a_file_that_cannot_be_opened_has_the_hint_for_its_cause(tmp_path, monkeypatch, number, code, hint):
    def fail(*_):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(CheckpointError) as error:
        FileReader(tmp_path / "file", "torch.save")
    assert error.value.args == (code, f"Cannot read {tmp_path / 'file'}: {os.strerror(number)}", hint)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about the allocator of glibc")
def test_chunks_get_memory_that_was_used_before(tmp_path):
    (tmp_path / "file").touch()
    code = """
import resource
from pathlib import Path
from audiocraft_export.storage.file_reader import FileReader

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        chunks = [b"x" * (1 << 19) for _ in range(5)]
        del chunks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = page_faults()
FileReader(Path("file"), "test")
print(before, page_faults())
"""
    done = run_python("-c", code, cwd=tmp_path)
    before, after = map(int, done.stdout.split())
    assert after < before / 8


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
    with pytest.raises(CheckpointError, match="file was modified while it was read") as error:
        reader.read_bytes(0, 5)
    assert error.value.code == "file-changed"
