"""Reading the zip container of torch.save."""

import io
import struct
import zipfile

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
        return [container.index(b"PK\1\2", archive.start_dir + 46 * index) for index in range(len(archive.namelist()))]


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


def test_files_that_hold_the_same_have_one_identity(container, tmp_path):
    (tmp_path / "one.th").write_bytes(container)
    torch.save({"w": torch.ones(2)}, tmp_path / "other.th")
    torch.save({"w": torch.zeros(2)}, tmp_path / "third.th")
    one, other, third = (TorchZipReader(tmp_path / f"{name}.th").identity for name in ("one", "other", "third"))
    assert one == other != third
