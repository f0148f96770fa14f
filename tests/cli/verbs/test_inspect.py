"""`audiocraft-export inspect`: files of releases, comparisons, curves."""

import json
import os
import re
from dataclasses import replace

import pytest
import torch
from helpers import SIG, on_terminal, solver_state, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli.verbs.inspect import _curve
from audiocraft_export.errors import readable_size
from audiocraft_export.release.manifest import Manifest

from ..commands import command, inspected


def test_release_folders_their_files_and_checkpoints_are_recognized(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    report = export_xp("11111111", dora_dir)
    assert [found["kind"] for found in inspected(tmp_path, report.folder)] == ["release", "release"]
    assert inspected(tmp_path, report.files[0])[0]["sections"]["best_state"] > 0
    assert inspected(tmp_path, folder / "checkpoint.th")[0]["kind"] == "training checkpoint"
    assert "made   " in command("inspect", report.folder, cwd=tmp_path).stdout


def test_an_up_to_date_release_is_shown_with_the_sizes_of_its_files(train, tmp_path, dora_dir):
    train("11111111", [])
    report = export_xp("11111111", dora_dir)
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert f"up to date (state_dict.bin {readable_size(report.files[0].stat().st_size)}" in shown


def test_differences_of_configurations_are_dotted_keys(train, tmp_path):
    train("11111111", [])
    train("22222222", [], **{"xp.cfg": with_cfg(solver="musicgen", optim={"lr": 3}, new=[1], user="${oc.env:HOME}")})
    found, = inspected(tmp_path, "11111111", "--diff", "2222")
    rows = {row["key"]: row["values"] for row in found["differences"]}
    assert rows["optim.lr"] == [0.0001, 3] and rows["new"] == [None, [1]]
    assert rows["user"] == ["${oc.env:USER}", "${oc.env:HOME}"] and "solver" not in rows
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


def test_metrics_are_shown_if_none_selects_the_best_state(train, tmp_path):
    train("11111111", [], [2.], **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "metrics     ce 2, ppl 1, in epoch 1" in shown, shown


def test_a_failed_comparison_does_not_report_0_differences(train, tmp_path, dora_dir):
    train("11111111", [])
    train("22222222", [])
    reference = export_xp("22222222", dora_dir).folder / "compression_state_dict.bin"
    for argv in (["11111111", "--diff", reference], [reference, "--diff", "11111111"]):
        result = command("inspect", *argv, cwd=tmp_path, code=1)
        assert "has no configuration to compare" in result.stderr and "0 differences" not in result.stdout
    train("33333333", [], **{"xp.cfg": with_cfg(solver="musicgen", a="1", b=None, c="")})
    train("44444444", [], **{"xp.cfg": with_cfg(solver="musicgen", a=1, b="None")})
    rows = inspected(tmp_path, "33333333", "--diff", "44444444")[0]["differences"]
    assert [tuple(row.values()) for row in rows] == [("a", ["1", 1]), ("b", [None, "None"]), ("c", ["", None])]


def test_a_manifest_is_accepted_as_a_target_and_text_files_are_not(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    (tmp_path / "notes.txt").write_text("text")
    assert "is a text file" in command("inspect", tmp_path / "notes.txt", cwd=tmp_path, code=1).stderr
    assert inspected(tmp_path, folder / "export.json") == [
        {**found, "target": str(folder / "export.json")} for found in inspected(tmp_path, folder)]


def test_paths_in_json_are_absolute(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    assert [line["file"] for line in inspected(tmp_path, os.path.relpath(folder, tmp_path))] == [
        str(folder / name) for name in ("state_dict.bin", "compression_state_dict.bin")]


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
    assert [inspected(tmp_path, target)[0]["nonfinite"] for target in (path, checkpoint)] == [12, 12]
    assert inspected(tmp_path, checkpoint, "--values")[0]["nonfinite"] == 12  # facts that are not in a manifest
    assert "values      12 NaN/inf values\n" in command("inspect", path.parent, cwd=tmp_path).stdout
    assert ", with 12 NaN/inf values; would have" in command("inspect", "11111111", cwd=tmp_path).stdout
    checkpoint.unlink()
    assert ", with 12 NaN/inf values (" in command("inspect", "11111111", cwd=tmp_path).stdout
    found, = inspected(tmp_path, "11111111")
    assert found["nonfinite"] == 12 and "12 NaN or infinite values" in found["warnings"][-1]


def test_an_experiment_with_a_release_and_only_a_checkpoint_of_an_epoch_is_summarized(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    export_xp("11111111", dora_dir)
    (folder / "checkpoint.th").rename(folder / "checkpoint_2.th")
    found, = inspected(tmp_path, "11111111")
    assert found["kind"] == "experiment" and found["state"] == "up_to_date" and found["refused"] is None
    (folder / "export" / "state_dict.bin").unlink()
    found, = inspected(tmp_path, "11111111")
    assert found["state"] == "damaged" and "Use checkpoint=2 (--checkpoint 2)" in found["refused"]


def test_a_warning_is_a_line_of_its_own_with_its_code(make_xp, tmp_path):
    make_xp(history=[])
    line = "warning[missing-history]: the checkpoint was stored before the first epoch was finished"
    assert line in command("inspect", SIG, cwd=tmp_path).stdout.splitlines()


def test_what_a_person_looks_for_comes_first(train, tmp_path, dora_dir):
    folder = train("11111111", ["optim.lr=1"], [3., 1., 2.])
    history = [{"train": {"ce": 9., "duration": 100.}, "valid": {"ce": loss, "ppl": 1., "duration": 20.}}
               for loss in (3., 1., 2.)]
    torch.save(solver_state(sig="11111111", history=history, **{"xp.cfg": with_cfg(solver="mine", epochs=5)}),
               folder / "checkpoint.th")
    os.utime(folder / ".argv.json", (1e9, 1e9))
    os.utime(folder / "checkpoint.th", (1e9 + 7200, 1e9 + 7200))
    found, = inspected(tmp_path, "11111111")
    assert (found["started"], found["changed"]) == (1e9, 1e9 + 7200)
    assert (found["xp"], found["overrides"], found["last"]) == (str(folder), ["optim.lr=1"], 2.)
    lines = command("inspect", "11111111", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines[:7]] == [
        "experiment", "overrides", "trained", "ce", "metrics", "release", "weights"]
    assert lines[1] == "overrides   optim.lr=1" and lines[4] == "metrics     ppl 1, in epoch 2"
    assert lines[2].startswith("trained     3 of 5 epochs, 6 min of training, 2001-09-0")
    assert lines[3].startswith("ce          best 1 in epoch 2 of 3, last 2  ")


def test_what_a_new_release_would_change_is_shown(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.], **{"xp.cfg": with_cfg(solver="mine")})
    export_xp("11111111", dora_dir, ExportOptions(weights="last", dtype="float16"))
    changes = [line for line in command("inspect", "1111", cwd=tmp_path).stdout.splitlines() if "changes " in line]
    assert changes[0].startswith("changes     weights model of epoch 1, after 1 epoch -> best_state")
    assert "; options dtype=float16, weights=last -> defaults" in changes[0]
    export_xp("11111111", dora_dir, ExportOptions())
    assert "changes " not in command("inspect", "1111", cwd=tmp_path).stdout
    torch.save(solver_state(sig="11111111", best_state={"model": {"w": torch.zeros(10000)}},
                            **{"xp.cfg": with_cfg(solver="mine")}), folder / "checkpoint.th")
    shown = command("inspect", "1111", cwd=tmp_path).stdout
    size = readable_size(export_xp("11111111", dora_dir).bytes)
    assert "release     stale; would have" in shown and re.search(rf"changes .*size \S+ kB -> {size}", shown)


def test_differences_are_a_view_of_their_own(train, tmp_path):
    train("11111111", [])
    train("22222222", [], **{"xp.cfg": with_cfg(solver="musicgen", optim={"lr": 3})})
    head, *table = command("inspect", "1111", "--diff", "2222", cwd=tmp_path).stdout.splitlines()
    assert head == f"Configuration keys that differ: {len(table) - 1}"
    assert table[0].split() == ["key", "1111", "2222"]
    assert inspected(tmp_path, "1111", "--diff", "2222")[0].keys() == {"schema", "target", "differences"}


def test_the_state_of_a_release_folder_is_known_and_that_of_other_exports_is_not(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    folder = export_xp("11111111", dora_dir, ExportOptions(weights="last")).folder
    found = inspected(tmp_path, folder)[0]
    assert (found["state"], found["options"], found["folder"]) == ("other_options", {"weights": "last"}, str(folder))
    (folder / "export.json").unlink()
    assert {found["state"] for found in inspected(tmp_path, folder)} == {None}


def test_a_metric_that_the_experiment_does_not_have_is_refused(train, tmp_path):
    train("11111111", [], [1.])
    result = command("inspect", "11111111", "--metric", "valid.cee:max", cwd=tmp_path, code=2)
    assert not result.stdout and result.stderr.splitlines() == [
        "error[invalid-option]: no experiment has the metric 'cee'", "  hint: did you mean ce?"]
    assert "best 1 in epoch 1" in command("inspect", "11111111", "--metric", "valid.ce", cwd=tmp_path).stdout


@pytest.mark.parametrize("options", [{}, {"format": "safetensors", "max_shard_size": "1kB", "card": False}])
def test_the_differences_of_a_release_of_several_files_are_shown_once(train, tmp_path, dora_dir, options):
    train("11111111", [], **{"xp.cfg": with_cfg(solver="musicgen", optim={"lr": 3})})
    train("22222222", [])
    report = export_xp("22222222", dora_dir, **options)
    assert len(report.files) > 1
    found, = inspected(tmp_path, report.folder, "--diff", "11111111")
    assert found["differences"]
    shown = command("inspect", report.folder, "--diff", "11111111", cwd=tmp_path).stdout
    assert shown.count("Configuration keys that differ") == 1


def test_the_label_of_a_metric_with_a_long_name_ends_with_a_space(train, tmp_path):
    train("11111111", [], history=[{"evaluate": {"accuracy": 0.5}}])
    assert "\nevaluate.accuracy best 0.5" in command(
        "inspect", "11111111", "--metric", "evaluate.accuracy:max", cwd=tmp_path).stdout


@pytest.mark.parametrize("flag", ["--tensors", "--values", "--metric ce"])
def test_options_without_effect_on_a_diff_are_refused(train, tmp_path, flag):
    train("11111111", [])
    result = command("inspect", "11111111", "--diff", "11111111", *flag.split(), cwd=tmp_path, code=2)
    assert f"{flag.split()[0]} has no effect with --diff" in result.stderr


def test_the_digest_says_whether_it_is_that_of_the_release(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    report = export_xp("11111111", dora_dir, weights="last", digest=True)
    digest = report.manifest.content_digest
    said = command("inspect", "11111111", "--digest", cwd=tmp_path).stdout
    assert " of an export with the default options\n" in said and digest not in said
    assert f"digest      {digest}\n" in command("inspect", report.folder, "--digest", cwd=tmp_path).stdout
    (folder / "checkpoint.th").unlink()
    assert f"digest      {digest}\n" in command("inspect", "11111111", "--digest", cwd=tmp_path).stdout
