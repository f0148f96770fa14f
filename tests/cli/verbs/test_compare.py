"""`audiocraft-export compare`: experiments and releases side by side."""

import re
import shutil

import pytest
from helpers import with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli.verbs import compare
from audiocraft_export.errors import readable_size

from ..commands import PRETRAINED, command, inspected, lines

MUSICGEN = {"solver": "musicgen", "compression_model_checkpoint": PRETRAINED}


@pytest.fixture
def two(train):
    """Two XPs with different learning rates."""
    return [train(sig, [f"lr={lr}"], losses, **{"xp.cfg": with_cfg(**MUSICGEN, optim={"lr": lr}, **more)})
            for sig, lr, losses, more in (("11111111", 1, [3., 1., 2.], {}), ("22222222", 2, [4.], {"new": None}))]


def rows(text):
    return {cells[0]: cells[1:] for cells in (re.split("  +", line) for line in text.splitlines())}


def test_metrics_sizes_and_configuration_are_side_by_side(two, tmp_path, dora_dir):
    report = export_xp("11111111", dora_dir, ExportOptions(weights="last", codec="none"))
    shutil.copy(two[0] / "checkpoint.th", two[0] / "checkpoint_3.th")
    shown = rows(command("compare", "1111", two[1], two[0] / "checkpoint_3.th", cwd=tmp_path).stdout)
    assert shown["experiment"] == ["11111111", "22222222", "11111111"] and shown["epochs"] == ["3", "1", "3"]
    assert shown["ce best"] == ["1", "4", "1"] and shown["ce last"] == ["2", "4", "2"]
    assert shown["best epoch"] == ["2", "1", "2"] and shown["ppl at best epoch"] == ["1", "1", "1"]
    assert shown["optim.lr"] == ["1", "2", "1"] and shown["new"] == ["-", "null", "-"] and "solver" in shown
    assert shown["release"][0] == "up to date, made with weights=last, codec=none" and shown["release"][1] == "missing"
    assert shown["release size"] == [readable_size(report.bytes), "-", readable_size(report.bytes)]
    assert "kB" in shown["checkpoint"][0]


def test_each_target_is_a_line_of_json_and_the_differences_are_the_last(two, tmp_path, dora_dir):
    folder = export_xp("11111111", dora_dir).folder
    one, other, release, differences = lines("compare", "1111", "2222", folder, cwd=tmp_path)
    found, = inspected(tmp_path, "1111")
    assert one == {"schema": 1, **{key: found[key] for key in one}} and other["best"] == 4.
    assert (release["sig"], release["checkpoint"]) == ("11111111", None)
    assert (release["metric"], release["best"], release["state"]) == ("ce", 1., "up_to_date")
    assert {"key": "optim.lr", "values": [1, 2, 1]} in differences["differences"]


def test_a_target_that_cannot_be_read_does_not_hide_the_others(two, tmp_path):
    result = command("compare", "1111", "nothing", "2222", cwd=tmp_path, code=1)
    assert "experiment-not-found" in result.stderr and rows(result.stdout)["ce best"] == ["1", "4"]
    found = lines("compare", "1111", "nothing", "2222", cwd=tmp_path, code=1)
    assert ["error" in line for line in found] == [True, False, False, False]


def test_experiments_without_a_checkpoint_are_compared(two, tmp_path):
    (two[0] / "checkpoint.th").unlink()
    shown = rows(command("compare", "1111", "2222", cwd=tmp_path).stdout)
    assert shown["ce best"] == ["1", "4"] and shown["checkpoint"][0] == "-"


def test_one_target_is_refused(two, tmp_path):
    assert compare.SUMMARY in command("--help", cwd=tmp_path).stdout
    result = command("compare", "1111", cwd=tmp_path, code=2)
    assert "compare needs at least two different targets" in result.stderr
    assert "no experiment" not in result.stderr and "audiocraft-export inspect 1111" in result.stderr


def test_one_target_given_twice_is_refused(two, tmp_path):
    result = command("compare", "11111111", "11111111", cwd=tmp_path, code=2)
    assert "compare needs at least two different targets" in result.stderr


def test_the_metric_can_be_chosen(two, tmp_path):
    shown = rows(command("compare", "1111", "2222", "--metric", "train.ce:max", cwd=tmp_path).stdout)
    assert shown["train.ce best"] == ["9", "9"] and shown["ce at best epoch"] == ["2", "4"]


def test_a_best_value_is_shown_only_of_an_experiment_that_selects_by_this_metric(make_xp, tmp_path):
    make_xp("11111111", history=[{"valid": {"ce": 1., "loss": 5.}}, {"valid": {"ce": 2., "loss": 4.}}])
    make_xp("22222222", history=[{"valid": {"loss": 3.}}, {"valid": {"loss": 3.5}}])
    shown = rows(command("compare", "1111", "2222", cwd=tmp_path).stdout)
    assert shown["ce best"] == ["1", "-"] and shown["loss best"] == ["-", "3"] and shown["loss last"] == ["4", "3.5"]


def test_nothing_is_claimed_of_a_best_epoch_that_is_unknown_or_of_a_last_value_that_is_not_finite(train, tmp_path):
    nan = float("nan")
    for sig, losses in ("11111111", [1., nan]), ("22222222", [nan, nan]):
        train(sig, ["lr=1"], losses)
    shown = rows(command("compare", "1111", "2222", "--metric", "ce", cwd=tmp_path).stdout)
    assert shown["best epoch"] == ["1", "-"] and shown["ce best"] == ["1", "-"] and shown["ce last"] == ["-", "-"]
    assert [line["last"] for line in lines("compare", "1111", "2222", cwd=tmp_path)[:2]] == [None, None]
    found, = inspected(tmp_path, "1111")
    assert (found["best"], found["last"], found["curve"]) == (1, None, [1, None])


def test_metrics_without_a_best_one_are_those_of_the_last_epochs(make_xp, tmp_path):
    for sig in "11111111", "22222222":
        make_xp(sig, history=[{"valid": {"acc": .25}}, {"valid": {"acc": .5}}])
    shown = rows(command("compare", "1111", "2222", cwd=tmp_path).stdout)
    assert shown["best epoch"] == ["-", "-"] and shown["acc last"] == ["0.5", "0.5"]
    assert "acc at best epoch" not in shown


def test_a_metric_that_none_of_them_has_is_refused(two, tmp_path):
    result = command("compare", "1111", "2222", "--metric", "train.cee:max", cwd=tmp_path, code=2)
    assert not result.stdout and result.stderr.splitlines() == [
        "error[invalid-option]: no experiment has the metric 'train.cee'", "  hint: did you mean train.ce?"]


def test_duplicates_among_targets_are_one(two, tmp_path):
    shown = rows(command("compare", "1111", two[0], "2222", two[0] / "checkpoint.th", cwd=tmp_path).stdout)
    assert shown["experiment"] == ["11111111", "22222222"]
    assert [line.get("target") for line in lines("compare", "1111", "2222", "11111111", cwd=tmp_path)] == [
        "1111", "2222", None]
    result = command("compare", "1111", two[0], cwd=tmp_path, code=2)
    assert "compare needs at least two different targets" in result.stderr
