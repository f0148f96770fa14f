"""Encoders of single files."""

import io

import pytest

from audiocraft_export import ExportError
from audiocraft_export.formats.audiocraft.pickler import TorchPickle
from audiocraft_export.formats.encoders import RawFile, encode
from audiocraft_export.formats.safetensors.file import SafetensorsFile
from audiocraft_export.release.content import Tensors
from audiocraft_export.storage.read_back import Part


def test_each_kind_of_content_has_its_encoder():
    kinds = [type(encode(content)) for content in ("text", b"bytes", Tensors({}, {}), {"a": 1})]
    assert kinds == [RawFile, RawFile, SafetensorsFile, TorchPickle]


def test_a_string_is_written_as_utf_8():
    stream = io.BytesIO()
    assert encode("é").write(stream, checked=True) == [Part("é".encode())]
    assert stream.getvalue() == "é".encode()
    with pytest.raises(ExportError, match="not valid UTF-8"):
        encode("\ud800")
