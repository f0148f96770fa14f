"""How values are shown in messages."""

import pytest

from audiocraft_export import ExportError
from audiocraft_export.errors import listing, printable, readable_size, reason


def test_a_message_is_one_printable_line_of_limited_length():
    assert str(ExportError("a\nb\x1b[2J\udcff é")) == "a\\nb\\x1b[2J\\udcff é"
    assert printable("x" * 4000) == "x" * 4000 and printable("x" * 4001) == "x" * 4000 + "..."
    assert printable("\0" * 2000) == "\\x00" * 1000 + "..."


@pytest.mark.parametrize(("nbytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (285_400_000, "285 MB"),
                                              (2.57e9, "2.57 GB"), (3e15, "3e+03 TB")])
def test_sizes_have_three_digits_and_a_unit(nbytes, text):
    assert readable_size(nbytes) == text


def test_a_long_list_of_names_is_cut():
    assert listing(["a", "b"]) == "a, b" and listing(list("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"


def test_a_reason_is_one_line_without_the_path():
    assert reason(FileNotFoundError(2, "No such file", "x")) == "No such file"
    assert reason(ValueError("first\nsecond")) == "first" and reason(KeyboardInterrupt()) == "KeyboardInterrupt"
