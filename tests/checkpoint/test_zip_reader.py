"""Reading the zip container of torch.save."""

import io
import re
import struct
import zipfile
import zlib

import pytest
import torch
from helpers import SIG

from audiocraft_export import ExportError, export_xp
from audiocraft_export.checkpoint.zip_reader import TorchZipReader


def test_records_are_aligned_as_torch_aligns_them(make_xp, dora_dir):
    make_xp()
    released = TorchZipReader(export_xp(SIG, dora_dir).files[0])
    assert all(released._begin(info) % 64 == 0 for info in released._infos.values())


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
    """The offsets of the entries of the directory."""
    with zipfile.ZipFile(io.BytesIO(bytes(container))) as archive:
        return [match.start() for match in re.finditer(b"PK\1\2", container) if match.start() >= archive.start_dir]


@pytest.mark.parametrize(("offset", "value"), [(38, 0x10), (34, 1), (28, 1), (30, 4), (32, 1)])
def test_an_entry_that_torch_reads_otherwise_is_refused(container, tmp_path, offset, value):
    for entry in entries(container):
        data = bytearray(container)
        data[entry + offset] ^= value
        (tmp_path / "x.th").write_bytes(data)
        with pytest.raises(ExportError, match="damaged|foreign|out of place"):
            read_all(tmp_path / "x.th")


@pytest.mark.parametrize("at", [4, 6, 8, 10, 12, 16])
def test_an_end_that_says_something_else_of_the_directory_is_refused(container, tmp_path, at):
    end = len(container) - 22
    struct.pack_into("<H", container, end + at, struct.unpack_from("<H", container, end + at)[0] ^ 1)
    (tmp_path / "x.th").write_bytes(container)
    with pytest.raises(ExportError, match="damaged|foreign"):
        read_all(tmp_path / "x.th")


def test_names_that_differ_only_in_case_are_refused(container, tmp_path):
    with zipfile.ZipFile(io.BytesIO(bytes(container))) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(tmp_path / "x.th", "w") as archive:
        for name, data in [*records, ("archive/DATA.pkl", b"")]:
            archive.writestr(name, data)
    with pytest.raises(ExportError, match="out of place"):
        TorchZipReader(tmp_path / "x.th")


@pytest.mark.parametrize("change", ["nul", "unicode"])
def test_a_name_that_python_reads_otherwise_than_torch_is_refused(tmp_path, change):
    info = zipfile.ZipInfo("archive/data.pkl")
    if change == "unicode":  # Info-ZIP's extra field, which Python heeds from 3.12
        path = struct.pack("<BL", 1, zlib.crc32(b"archive/data.xxx")) + b"archive/data.pkl"
        info.extra = struct.pack("<2H", 0x7075, len(path)) + path
    with zipfile.ZipFile(tmp_path / "x.th", "w") as archive:
        archive.writestr(info, b"N.")
        archive.writestr("archive/version", b"3")
        info.filename = "archive/data.xxx" if change == "unicode" else "archive/data.pkl\0x"  # in the directory
    with pytest.raises(ExportError, match="out of place|no data.pkl"):
        TorchZipReader(tmp_path / "x.th")


def test_a_file_without_checksums_is_refused_as_that(container, tmp_path):
    for entry in entries(container):  # as `torch.serialization.set_crc32_options(False)` has it
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
