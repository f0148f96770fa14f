"""Write the zip container of torch.save."""

import io
import pickle
import zipfile

import pytest
import torch

from audiocraft_export.formats.audiocraft import zip_writer
from audiocraft_export.formats.audiocraft.zip_writer import write_torch_zip, zip_size
from audiocraft_export.storage.lazy_bytes import LazyBytes


@pytest.mark.parametrize("most", [zip_writer._LARGE, 100, 0])
def test_archives_of_any_size_are_zip_files_that_torch_and_zipfile_read(most, monkeypatch):
    monkeypatch.setattr(zip_writer, "_LARGE", most)  # numbers from this value on are stored in 64-bit fields
    blobs = {"data.pkl": pickle.dumps({"a": 1}, 2), "byteorder": b"little", "data/0": bytes(300), "version": b"3\n"}
    stream = io.BytesIO()
    write_torch_zip(stream, [(name, LazyBytes.from_data(data)) for name, data in blobs.items()])
    assert zip_size((name, len(data)) for name, data in blobs.items()) == len(stream.getvalue())
    with zipfile.ZipFile(stream) as archived:
        assert archived.testzip() is None
        assert {info.filename[len("archive/"):]: archived.read(info) for info in archived.infolist()} == blobs
    if most > 100:  # zip64 structures are only valid in files of more than 4 GiB
        assert torch.load(io.BytesIO(stream.getvalue()), weights_only=True) == {"a": 1}
