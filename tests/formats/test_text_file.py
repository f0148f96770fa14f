"""Text files of a release."""

import pytest

from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.text_file import MAX_TEXT_FILE, read_text


def test_a_text_that_is_too_large_is_not_cut_off(tmp_path):
    with open(tmp_path / "config.json", "wb") as stream:
        stream.truncate(MAX_TEXT_FILE + 1)
    with pytest.raises(CheckpointError, match="config.json is larger than 33.6 MB") as error:
        read_text(tmp_path / "config.json")
    assert error.value.code == "damaged-release"


def test_a_text_that_is_not_utf_8_or_missing_is_an_error(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="not valid UTF-8"):
        read_text(tmp_path / "config.yaml")
    with pytest.raises(CheckpointError, match="No such file"):
        read_text(tmp_path / "missing.yaml")
