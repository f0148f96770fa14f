"""`audiocraft-export convert`: several folders, and the output."""

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
    assert result.stderr.endswith("3 releases: 2 converted, 1 failed\n")
    assert result.stdout.count(" converted: best_state") == 2 and "exported" not in result.stdout
    assert all((folder / "model.safetensors").exists() for folder in folders)
    line = json.loads(command("convert", folders[0], "--to", "audiocraft", "--json", cwd=tmp_path).stdout)
    assert line["manifest"]["files"][0]["name"] == "state_dict.bin" and line["result"] == "converted"
    again = command("convert", folders[0], "--to", "audiocraft", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["result"] == "already_converted"


def test_two_releases_cannot_share_a_folder(tmp_path):
    error = command("convert", "a", "b", "--to", "safetensors", "--folder", "c", cwd=tmp_path, code=2).stderr
    assert "--folder takes a single release" in error


def test_the_help_has_examples(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    assert command("convert", "--help", cwd=tmp_path).stdout.endswith(convert.EXAMPLES)


def test_a_shard_size_without_effect_is_refused(tmp_path):
    result = command("convert", "a", "--to", "audiocraft", "--max-shard-size", "5GB", cwd=tmp_path, code=2)
    assert "--max-shard-size has no effect on --to audiocraft" in result.stderr
