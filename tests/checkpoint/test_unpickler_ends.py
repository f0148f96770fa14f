"""Pickles that are truncated, or have bytes after their end."""

import pytest

from audiocraft_export import ExportError
from audiocraft_export.checkpoint.unpickler import unpickle


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"\x80\x02N", b"\x80\x02N.N", b"\x80\x02\xff.", b"\x80\x02J\x00."])
def test_a_pickle_that_is_invalid_truncated_or_too_long_is_refused(data):
    with pytest.raises(ExportError, match="is corrupted or was not written by torch.save") as info:
        unpickle(data, {}.__getitem__, "x.th")
    assert info.value.code == "corrupted-file"
