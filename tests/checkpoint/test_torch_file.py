"""Read whole files of torch.save."""

import zipfile

import pytest
import torch

from audiocraft_export import ExportError
from audiocraft_export.checkpoint.torch_file import TorchFile


def test_a_file_is_its_content_and_where_it_comes_from(tmp_path):
    torch.save({"model": {"w": torch.ones(2)}}, tmp_path / "x.th")
    file = TorchFile.read(tmp_path / "x.th")
    assert {*file.state} == {"model"} and not file.unknown_globals and not file.is_training
    assert file.source.name == "x.th" and file.source.bytes == (tmp_path / "x.th").stat().st_size


def test_a_file_that_holds_no_dict_is_refused(tmp_path):
    torch.save([1], tmp_path / "x.th")
    with pytest.raises(ExportError, match="expected a dict, found a list"):
        TorchFile.read(tmp_path / "x.th")


def rewritten(path, **contents):
    """Rewrite a file of torch.save with other records, including ones that this torch cannot write."""
    torch.save({"w": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**records, **contents}.items():
            if data is not None:
                archive.writestr(f"x/{name}", data)
    return path


@pytest.mark.parametrize(("contents", "says"), [
    ({"byteorder": b"little-endian"}, "byte order b'little-endian'"), ({"byteorder": b"big"}, "big-endian machine"),
    ({"version": b"11\n"}, "version b'11'"), ({"version": b"0\n"}, "version b'0'"), ({"version": b"x"}, "version b'x'"),
    ({"version": None}, "record version is missing"), ({".storage_alignment": b"x"}, "alignment b'x'"),
    ({"byteorder": None, "ByteOrder": b"big"}, "record ByteOrder, which torch reads as byteorder")])
def test_files_that_torch_cannot_read_are_refused(tmp_path, contents, says):
    path = rewritten(tmp_path / "x.th", **contents)
    with pytest.raises(ExportError, match=says):
        TorchFile.read(path)
    if b"big" not in contents.values() and contents.keys() != {".storage_alignment"}:
        with pytest.raises((RuntimeError, ValueError)):
            torch.load(path, weights_only=True)


@pytest.mark.parametrize("contents", [{}, {"byteorder": None}, {".storage_alignment": None}, {"version": b"10\n"}])
def test_files_of_older_and_newer_versions_of_torch_are_read(tmp_path, contents):
    path = rewritten(tmp_path / "x.th", **contents)
    assert [*TorchFile.read(path).state] == [*torch.load(path, weights_only=True)]
