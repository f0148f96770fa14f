"""A release made into one of another format."""

import pytest
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp, verify
from audiocraft_export.errors import ReleaseError
from audiocraft_export.pipeline.convert import convert


def test_a_release_becomes_the_one_of_the_other_format_and_that_one_again(make_xp, dora_dir, tmp_path):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(card=False)).folder
    there = convert(folder, "safetensors", tmp_path / "there")
    assert there.manifest.release_format == "safetensors" and verify(there.folder).ok
    back = convert(there.folder, "audiocraft", tmp_path / "back")
    assert back.files[0].read_bytes() == (folder / "state_dict.bin").read_bytes()
    assert not convert(folder, "audiocraft").written  # it is what was asked for


def test_a_format_of_which_none_comes_back_and_a_damaged_release_are_refused(make_xp, dora_dir, tmp_path):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    with pytest.raises(ReleaseError, match="cannot be converted to transformers without loss"):
        convert(folder, "transformers")
    (folder / "state_dict.bin").write_bytes(b"")
    with pytest.raises(ReleaseError, match="not the release that its manifest describes"):
        convert(folder, "safetensors", tmp_path / "there")
    assert not (tmp_path / "there").exists()
