"""Columns by name."""

import pytest

from audiocraft_export.cli.xp_table import KEYS, valid_columns
from audiocraft_export.errors import OptionError


def test_columns_are_the_keys_of_the_schema():
    assert valid_columns(None) == KEYS and valid_columns("sig, best") == ["sig", "best"]


@pytest.mark.parametrize("text", ["", "sig,", "keys", "Sig"])
def test_an_unknown_column_is_refused(text):
    with pytest.raises(OptionError, match="unknown column"):
        valid_columns(text)
