"""`audiocraft-export inspect`: files of releases, comparisons, curves."""

import json
from dataclasses import replace

import pytest
import torch
from helpers import on_terminal, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli.verbs.inspect import _curve
from audiocraft_export.release.manifest import Manifest

from ..commands import command, inspected


def test_a_release_folder_its_files_and_a_checkpoint_say_what_they_are(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    report = export_xp("11111111", dora_dir)
    assert [found["kind"] for found in inspected(tmp_path, report.folder)] == ["release", "release"]
    assert inspected(tmp_path, report.files[0])[0]["sections"]["best_state"] > 0
    assert inspected(tmp_path, folder / "checkpoint.th")[0]["kind"] == "training checkpoint"
    assert "made   " in command("inspect", report.folder, cwd=tmp_path).stdout


def test_differences_of_configurations_are_dotted_keys(train, tmp_path):
    train("11111111", [])
    train("22222222", [], **{"xp.cfg": with_cfg(solver="musicgen", optim={"lr": 3}, new=[1], user="${oc.env:HOME}")})
    found, = inspected(tmp_path, "11111111", "--diff", "2222")
    rows = {row["key"]: (row["here"], row["there"]) for row in found["differences"]}
    assert rows["optim.lr"] == ("0.0001", "3") and rows["new"] == ("", "[1]")
    assert rows["user"] == ('"${oc.env:USER}"', '"${oc.env:HOME}"') and "solver" not in rows
    assert "optim.lr" in command("inspect", "11111111", "--diff", "22222222", cwd=tmp_path).stdout
    assert "No XP '3333'" in command("inspect", "11111111", "--diff", "3333", cwd=tmp_path, code=1).stderr


@pytest.mark.parametrize("losses", [[1.], [1e308, -1e308, 1.], [float("nan"), 2.], [2.] * 500, [10**400, 1.]])
def test_a_curve_can_be_drawn_of_anything(train, tmp_path, losses):
    train("11111111", [], losses)
    text = command("inspect", "11111111", cwd=tmp_path, PYTHONIOENCODING="ascii").stdout
    line, = [line for line in text.splitlines() if line.startswith("ce  ")]
    assert len(line) < 110 and text.isascii()


def test_a_folder_of_audiocraft_s_own_export_is_a_release(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    (folder / "export.json").unlink()
    assert [found["kind"] for found in inspected(tmp_path, folder)] == ["release", "release"]
    (folder / "state_dict.bin").write_bytes(b"damaged")
    result = command("inspect", folder, "--json", cwd=tmp_path, code=1)
    assert ["error" in json.loads(line) for line in result.stdout.splitlines()] == [True, False]


def test_metrics_are_said_where_none_decides(train, tmp_path):
    train("11111111", [], [2.], **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "metrics     ce 2, ppl 1, in epoch 1" in shown, shown


def test_what_cannot_be_compared_has_no_0_differences(train, tmp_path, dora_dir):
    train("11111111", [])
    train("22222222", [])
    reference = export_xp("22222222", dora_dir).folder / "compression_state_dict.bin"
    for argv in (["11111111", "--diff", reference], [reference, "--diff", "11111111"]):
        result = command("inspect", *argv, cwd=tmp_path, code=1)
        assert "holds no configuration to compare" in result.stderr and "0 differences" not in result.stdout
    train("33333333", [], **{"xp.cfg": with_cfg(solver="musicgen", a="1", b=None, c="")})
    train("44444444", [], **{"xp.cfg": with_cfg(solver="musicgen", a=1, b="None")})
    rows = inspected(tmp_path, "33333333", "--diff", "44444444")[0]["differences"]
    assert [tuple(row.values()) for row in rows] == [("a", '"1"', "1"), ("b", "null", '"None"'), ("c", '""', "")]


def test_a_text_of_a_release_is_no_file_of_tensors_and_its_manifest_stands_for_all(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    (tmp_path / "notes.txt").write_text("text")
    assert "no zip archive" in command("inspect", tmp_path / "notes.txt", cwd=tmp_path, code=1).stderr
    assert inspected(tmp_path, folder / "export.json") == [
        {**found, "target": str(folder / "export.json")} for found in inspected(tmp_path, folder)]


def test_options_for_a_target_are_not_those_for_what_it_is_compared_with(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    other = train("22222222", [], [1.])
    (folder / "checkpoint.th").rename(folder / "checkpoint_1.th")
    for diff in ("22222222", other / "checkpoint.th"):
        assert inspected(tmp_path, "11111111", "--checkpoint", "1", "--diff", diff)[0]["differences"] == []
    release = export_xp("22222222", dora_dir).folder
    assert "is a release" in command("inspect", release, "--checkpoint", "1", cwd=tmp_path, code=1).stderr


def test_a_manifest_names_only_files_of_its_folder(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    folder = export_xp("11111111", dora_dir).folder
    manifest = Manifest.load(folder)
    outside = replace(manifest.files[0], name="../checkpoint.th")
    (folder / "export.json").write_text(replace(manifest, files=[*manifest.files, outside]).text)
    assert {found["kind"] for found in inspected(tmp_path, folder)} == {"release"}


@pytest.mark.parametrize("columns", [60, 80])
def test_the_curve_leaves_its_line_whole(train, tmp_path, columns):
    train("11111111", [], [1 / epoch for epoch in range(1, 301)])
    shown = on_terminal("-m", "audiocraft_export", "inspect", "11111111", cwd=tmp_path, columns=columns)
    line, = [line for line in shown.replace("\r", "").splitlines() if line.startswith("ce  ")]
    assert 40 < len(line) <= columns and "of 300" in line


def test_an_experiment_without_a_checkpoint_does_not_hide_another(train, tmp_path, dora_dir):
    (dora_dir / "xps" / "22222222").mkdir(parents=True)
    train("11111111", [])
    result = command("inspect", "22222222", "nowhere", "11111111", "--json", cwd=tmp_path, code=1)
    assert ["error" in json.loads(line) for line in result.stdout.splitlines()] == [True, True, False]


def test_a_checkpoint_is_inspected_on_a_narrow_terminal(train, tmp_path):
    train("11111111", [])
    shown = on_terminal("-m", "audiocraft_export", "inspect", "11111111", cwd=tmp_path, columns=40)
    table = shown.partition("section")[2]
    assert "best_state" in table and "float32" in table


def test_a_curve_has_a_block_for_each_value_or_for_several():
    assert _curve([3., None, 1., 2.], 40) in ("█ ▁▅", "# _=")
    assert len(_curve([float(value) for value in range(100)], 30)) == 25 and _curve([], 30) == ""


def test_values_that_are_nan_or_infinite_are_counted(train, tmp_path, dora_dir):
    checkpoint = train("11111111", [], best_state={"model": {"w": torch.full((4, 3), float("nan"))}}) / "checkpoint.th"
    path = export_xp("11111111", dora_dir, ExportOptions(codec="none")).files[0]
    assert [inspected(tmp_path, target)[0]["nonfinite"] for target in (path, checkpoint)] == [12, None]
    assert inspected(tmp_path, checkpoint, "--values")[0]["nonfinite"] == 12  # what no manifest says
    assert "values      12 are NaN or infinite\n" in command("inspect", path.parent, cwd=tmp_path).stdout
    assert ", with 12 NaN or infinite values; would have" in command("inspect", "11111111", cwd=tmp_path).stdout
    checkpoint.unlink()
    assert ", with 12 NaN or infinite values (" in command("inspect", "11111111", cwd=tmp_path).stdout
    found, = inspected(tmp_path, "11111111")
    assert found["release_nonfinite"] == 12 and "12 numbers that are NaN or infinite" in found["odd"][-1]


def test_an_experiment_with_a_release_and_only_a_checkpoint_of_an_epoch_is_summarized(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    export_xp("11111111", dora_dir)
    (folder / "checkpoint.th").rename(folder / "checkpoint_2.th")
    found, = inspected(tmp_path, "11111111")
    assert found["kind"] == "experiment" and found["release_status"] == "up to date" and found["refused"] is None
    (folder / "export" / "state_dict.bin").unlink()
    found, = inspected(tmp_path, "11111111")
    assert found["release_status"] == "damaged" and "option checkpoint: 2" in found["refused"]
