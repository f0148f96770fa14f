"""Pickles that are incomplete, or go on after their end."""

import pytest

from audiocraft_export import ExportError
from audiocraft_export.checkpoint.unpickler import unpickle


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"\x80\x02N", b"\x80\x02N.N", b"\x80\x02\xff.", b"\x80\x02J\x00."])
def test_a_pickle_that_ends_too_early_or_too_late_or_is_none_is_refused(data):
    with pytest.raises(ExportError, match="damaged, or not written by torch.save"):
        unpickle(data, {}.__getitem__, "x.th")
