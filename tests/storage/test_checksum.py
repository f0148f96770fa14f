"""Checksums of streams."""

import hashlib
import os
import sys
import zlib
from importlib import reload

import pytest

from audiocraft_export.storage import checksum

DATA = os.urandom(300_001)


@pytest.fixture(params=[True, False], ids=["as installed", "without isal"])
def module(request, monkeypatch):
    if not request.param:
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    yield reload(checksum)
    monkeypatch.undo()
    reload(checksum)


def test_the_crc_32_is_that_of_zlib_piece_by_piece(module):
    crc = 0
    for begin in range(0, len(DATA), 1000):
        crc = module.crc32(memoryview(DATA)[begin:begin + 1000], crc)
    assert crc == zlib.crc32(DATA)


@pytest.mark.parametrize("pieces", [[], [DATA], [DATA[:7], memoryview(DATA)[7:]]], ids=["none", "one", "two"])
def test_the_sha256_of_a_stream_is_that_of_all_its_bytes(pieces):
    assert checksum.sha256_of(pieces) == hashlib.sha256(b"".join(pieces)).hexdigest()
