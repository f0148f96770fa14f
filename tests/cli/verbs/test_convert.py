"""`audiocraft-export convert`: several folders, and what is printed of them."""

import json

import pytest

from audiocraft_export import export_xp
from audiocraft_export.cli.verbs import convert

from ..commands import command

pytest.importorskip("safetensors")


def test_folders_are_converted_where_they_are_one_after_the_other(train, tmp_path, dora_dir):
    folders = []
    for sig in ("11111111", "22222222"):
        train(sig, [], [1.])
        folders.append(export_xp(sig, dora_dir).folder)
    result = command("convert", *folders, "nowhere", "--to", "safetensors", cwd=tmp_path, code=1)
    assert result.stderr.endswith("2 of 3 exported; failed: nowhere.\n") and "11111111" in result.stdout
    assert all((folder / "model.safetensors").exists() for folder in folders)
    line = json.loads(command("convert", folders[0], "--to", "audiocraft", "--json", cwd=tmp_path).stdout)
    assert line["written"] and line["files"][0]["name"] == "state_dict.bin"


def test_one_folder_is_no_place_for_several_releases(tmp_path):
    error = command("convert", "a", "b", "--to", "safetensors", "--folder", "c", cwd=tmp_path, code=2).stderr
    assert "--folder takes one release" in error


def test_the_help_has_examples(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    assert command("convert", "--help", cwd=tmp_path).stdout.endswith(convert.EXAMPLES)
