"""Read the zip container of torch.save."""

import bz2
import gzip
import io
import lzma
import pickle
import re
import struct
import tarfile
import zipfile
import zlib

import pytest
import torch
from helpers import SIG

from audiocraft_export import ExportError, export_xp
from audiocraft_export.checkpoint.zip_reader import TorchZipReader, _begin


def test_records_are_aligned_as_torch_aligns_them(make_xp, dora_dir):
    make_xp()
    released = TorchZipReader(export_xp(SIG, dora_dir).files[0])
    assert all(_begin(released._file, record) % 64 == 0 for record in released._records.values())


@pytest.fixture
def container():
    stream = io.BytesIO()
    torch.save({"w": torch.ones(2)}, stream)
    return bytearray(stream.getvalue())


def read_all(path):
    archive = TorchZipReader(path)
    for name in archive.names:
        archive.blob(name).verify()
    return archive


def entries(container):
    """Return the offsets of the entries in the central directory."""
    with zipfile.ZipFile(io.BytesIO(bytes(container))) as archive:
        return [match.start() for match in re.finditer(b"PK\1\2", container) if match.start() >= archive.start_dir]


@pytest.mark.parametrize(("offset", "value"), [(38, 0x10), (34, 1), (28, 1), (30, 4), (32, 1)])
def test_an_entry_that_torch_reads_otherwise_is_refused(container, tmp_path, offset, value):
    for entry in entries(container):
        data = bytearray(container)
        data[entry + offset] ^= value
        (tmp_path / "x.th").write_bytes(data)
        with pytest.raises(ExportError, match="is corrupted"):
            read_all(tmp_path / "x.th")


@pytest.mark.parametrize("at", [4, 6, 8, 10, 12, 16])
def test_an_end_record_that_contradicts_the_central_directory_is_refused(container, tmp_path, at):
    end = len(container) - 22
    struct.pack_into("<H", container, end + at, struct.unpack_from("<H", container, end + at)[0] ^ 1)
    (tmp_path / "x.th").write_bytes(container)
    with pytest.raises(ExportError, match="is corrupted"):
        read_all(tmp_path / "x.th")


def test_names_that_differ_only_in_case_are_refused(container, tmp_path):
    with zipfile.ZipFile(io.BytesIO(bytes(container))) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(tmp_path / "x.th", "w") as archive:
        for name, data in [*records, ("archive/DATA.pkl", b"")]:
            archive.writestr(name, data)
    with pytest.raises(ExportError, match="unexpected record"):
        TorchZipReader(tmp_path / "x.th")


@pytest.mark.parametrize("change", ["nul", "unicode"])
def test_a_name_that_python_reads_otherwise_than_torch_is_refused(tmp_path, change):
    info = zipfile.ZipInfo("archive/data.pkl")
    if change == "unicode":  # Info-ZIP's extra field, which Python reads since 3.12
        path = struct.pack("<BL", 1, zlib.crc32(b"archive/data.xxx")) + b"archive/data.pkl"
        info.extra = struct.pack("<2H", 0x7075, len(path)) + path
    with zipfile.ZipFile(tmp_path / "x.th", "w") as archive:
        archive.writestr(info, b"N.")
        archive.writestr("archive/version", b"3")
        info.filename = "archive/data.xxx" if change == "unicode" else "archive/data.pkl\0x"  # in the central directory
    with pytest.raises(ExportError, match="unexpected record|without data.pkl"):
        TorchZipReader(tmp_path / "x.th")


def test_a_file_without_checksums_is_refused_as_that(container, tmp_path):
    for entry in entries(container):  # as with `torch.serialization.set_crc32_options(False)`
        for at in (entry + 16, struct.unpack_from("<L", container, entry + 42)[0] + 14):
            container[at:at + 4] = bytes(4)
    (tmp_path / "x.th").write_bytes(container)
    with pytest.raises(ExportError, match="was saved without checksums"):
        TorchZipReader(tmp_path / "x.th")


def test_files_that_hold_the_same_have_one_identity(container, tmp_path):
    (tmp_path / "one.th").write_bytes(container)
    torch.save({"w": torch.ones(2)}, tmp_path / "other.th")
    torch.save({"w": torch.zeros(2)}, tmp_path / "third.th")
    one, other, third = (TorchZipReader(tmp_path / f"{name}.th").identity for name in ("one", "other", "third"))
    assert one == other != third


def safetensors():
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return len(header).to_bytes(8, "little") + header + bytes(4)


def legacy():
    stream = io.BytesIO()
    torch.save({"w": torch.ones(2)}, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def archived(kind):
    stream = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("checkpoint.th"))
    else:
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("checkpoint.th", b"x")
    return stream.getvalue()


@pytest.mark.parametrize(("data", "says", "hint"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer", "run git lfs pull"),
    (b"\n<!DOCTYPE html><html></html>", "is an HTML page", "download the file again"),
    (b"\xef\xbb\xbf<HTML><body></body>", "is an HTML page", "download the file again"),
    (gzip.compress(b"x", mtime=0), "is compressed with gzip", "decompress it"),
    (bz2.compress(b"x"), "is compressed with bzip2", "decompress it"),
    (lzma.compress(b"x"), "is compressed with xz", "decompress it"),
    (b"\x28\xb5\x2f\xfd\x00", "is compressed with zstd", "decompress it"),
    (archived("tar"), "is a tar archive", "extract it"),
    (archived("zip"), "is a zip archive without data.pkl", "extract it"),
    (safetensors(), "is a safetensors file", "use the checkpoint.th"),
    (legacy(), "was saved in the format of torch < 1.6", "load it and save it again with torch.save if you trust it"),
    (pickle.dumps({"w": 1}), "is a pickle that was not written by torch.save", "load it and save it again"),
    (b"some notes", "is a text file", "use the checkpoint.th"),
    (b'{"error": "not found"}\n', "is a text file", "use the checkpoint.th"),
    ("\u00fc".encode() * 300 + b"x", "is a text file", "use the checkpoint.th"),
    (b"x" + "\u00fc".encode() * 300, "is a text file", "use the checkpoint.th"),
    (b"some notes\0", "was not written by torch.save", "use the checkpoint.th"),
    (b"\x93NUMPY\x01\x00v\x00{", "is a NumPy array", "use the checkpoint.th"),
    (b"\xff" * 8 + b"{", "was not written by torch.save", "use the checkpoint.th")],
    ids=lambda value: value if isinstance(value, str) else "data")
def test_a_file_of_another_format_is_identified(tmp_path, data, says, hint):
    (tmp_path / "x.th").write_bytes(data)
    with pytest.raises(ExportError) as info:
        TorchZipReader(tmp_path / "x.th")
    assert info.value.code == "not-a-checkpoint" and info.value.message.startswith(f"{tmp_path / 'x.th'} {says}")
    assert info.value.hint.startswith(hint)


@pytest.mark.parametrize("size", [0, 2, 4, -1])
def test_a_truncated_file_is_corrupted(container, tmp_path, size):
    (tmp_path / "x.th").write_bytes(container[:size])
    with pytest.raises(ExportError, match="is empty|is truncated") as info:
        TorchZipReader(tmp_path / "x.th")
    assert (info.value.code, info.value.hint) == ("corrupted-file", "restore it from a backup")


def test_a_file_of_zeros_is_corrupted(tmp_path):
    (tmp_path / "x.th").write_bytes(bytes(5000))
    with pytest.raises(ExportError, match="begins with 512 zero bytes") as info:
        TorchZipReader(tmp_path / "x.th")
    assert (info.value.code, info.value.hint) == ("corrupted-file", "restore it from a backup")
