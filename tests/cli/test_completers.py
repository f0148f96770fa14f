"""What argcomplete is given for a command line, by its protocol with the shells: no shell is needed."""

import json
import os
import resource
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from audiocraft_export.cli import completers
from audiocraft_export.cli.main import _build_parser
from audiocraft_export.cli.verbs import convert
from audiocraft_export.cli.verbs import list as list_
from audiocraft_export.error_codes import ERRORS, WARNINGS

SIG, UNTRAINED = "9357e12e", "935a0000"
RUN = """
import sys
sys.modules.update(torch=None, omegaconf=None, yaml=None, dora=None)  # an import of these raises an error
from audiocraft_export.cli.main import main
main()
"""


@pytest.fixture
def xps(tmp_path, make_xp, monkeypatch):
    """Store an experiment with several checkpoints, one without a checkpoint, and a grid."""
    folder = make_xp(SIG, discriminator={"weight": torch.zeros(2)})
    make_xp(SIG, "checkpoint_5.th", teacher={"weight": torch.zeros(2)})
    make_xp(SIG, "checkpoint_10.th")
    (folder / ".argv.json").write_text('["dim=32", "optim.lr=1e-4"]')
    (folder / "history.json").write_text(json.dumps([{"train": {"ce": 3.}, "valid": {"ce": ce}} for ce in (2., 1.25)]))
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("dim: 32\nsolver: musicgen\n")
    for path in (f"outputs/xps/{UNTRAINED}", "outputs/grids/sweep", "releases"):
        (tmp_path / path).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("DORA_PACKAGE", "AUDIOCRAFT_DORA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return folder.parent


def completions(line, shell="fish"):
    """Return what argcomplete offers at the end of a command line, with descriptions; nothing is printed."""
    line, answer = f"audiocraft-export {line}", Path("answer")
    env = {**os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": shell, "COMP_LINE": line,
           "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_DFS": "\t",
           "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    result = subprocess.run([sys.executable, "-c", RUN], env=env, text=True, capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    text = answer.read_text()
    answer.unlink()
    return dict(each.split("\t") for each in text.split("\n")) if text else {}


def test_signatures_are_described_by_solver_best_metric_and_overrides(xps):
    assert completions("run 93") == {SIG: "musicgen, ce 1.25, dim=32 optim.lr=1e-4", UNTRAINED: ""}


@pytest.mark.parametrize("line", ["run ", "inspect ", "verify ", "convert ", "inspect --diff ", "verify --against ",
                                  "run --dtype float16 ", "run --dora-dir outputs "])
def test_an_argument_that_accepts_a_signature_offers_signatures_before_files(xps, line):
    assert completions(line).keys() == {SIG, UNTRAINED}


def test_a_target_is_not_offered_twice_but_may_be_what_it_is_compared_with(xps):
    assert completions(f"verify {SIG} ").keys() == {UNTRAINED}
    assert completions(f"verify {SIG} --against ").keys() == {SIG, UNTRAINED}


def test_files_are_offered_by_their_beginning(xps):
    assert [*completions("run rel")] == ["releases/"] and [*completions("run --config rel")] == ["releases/"]
    assert [*completions("run --folder rel")] == ["releases/"] and [*completions("run --dora-dir out")] == ["outputs/"]


def test_a_target_is_offered_once(xps):
    assert completions(f"run {SIG} ").keys() == {UNTRAINED}


def test_grids_are_offered(xps):
    assert [*completions("run --grid ")] == ["sweep"]


@pytest.mark.parametrize("target", [SIG, "9357", f"outputs/xps/{SIG}", f"outputs/xps/{SIG}/checkpoint_5.th"])
def test_the_checkpoints_of_the_named_experiment_are_offered_with_their_sizes(xps, target):
    found = completions(f"run {target} --checkpoint ")
    assert found.keys() == {"5", "10"} and all(text.endswith(" kB") for text in found.values())
    assert completions(f"inspect {target} --checkpoint 1").keys() == {"10"}


def test_without_an_experiment_no_checkpoint_is_offered(xps):
    assert completions("run --checkpoint ") == {} and completions("run 77 --checkpoint ") == {}


def test_the_weights_of_the_named_checkpoint_are_offered(xps):
    usual = completers.WEIGHTS
    assert completions("run --weights ") == usual
    assert completions(f"run {SIG} --weights ") == {
        **usual, "model": "section of checkpoint.th", "best_state": "section of checkpoint.th",
        "discriminator": "section of checkpoint.th"}
    assert completions("run 9357 --checkpoint 5 --weights t") == {"teacher": "section of checkpoint_5.th"}
    assert completions(f"run outputs/xps/{SIG}/checkpoint_5.th --weights t") == {
        "teacher": "section of checkpoint_5.th"}


def test_a_damaged_or_missing_checkpoint_leaves_the_usual_weights(xps):
    (xps / SIG / "checkpoint.th").write_bytes(b"PK")
    assert completions(f"run {SIG} --weights ") == completions(f"run {UNTRAINED} --weights ") == completers.WEIGHTS


def test_solvers_and_metrics_of_the_experiments_are_offered(xps):
    assert completions("list --solver ").keys() == {"musicgen"}
    assert completions("list --metric ").keys() == completions(f"run {SIG} --metric ").keys() == {"ce", "train.ce"}
    assert completions(f"run {UNTRAINED} --metric ") == {}


def test_codes_are_offered_with_the_beginning_of_their_explanation(xps):
    assert completions("explain ").keys() == {*ERRORS, *WARNINGS}
    assert completions("explain ambi") == {
        "ambiguous-signature": "The prefix of a signature matches several experiments of the Dora folder"}


@pytest.mark.parametrize(("line", "values"), [
    ("run --dtype ", {"float32", "float16", "bfloat16"}), ("run --format s", {"safetensors"}),
    ("run --verify ", {"bytes", "cache", "load", "none"}), ("run --family audio", {"audiogen", "audio_magnet"}),
    ("convert --to ", {"audiocraft", "safetensors"}), ("run --scrub ", {"public"}),
    ("run --weights=e", {"--weights=ema"}), ("run --grad", set()), ("run --gri", {"--grid"}), ("insp", {"inspect"})])
def test_values_flags_and_verbs_are_offered(xps, line, values):
    assert completions(line).keys() == values


def test_flags_are_offered_only_after_a_dash(xps):
    assert not any(value.startswith("-") for value in completions("run "))
    assert {"--grid", "--dora-dir", "--json"} < completions("run -").keys()


def test_every_verb_is_offered_with_its_summary(xps):
    verbs = next(action for action in _build_parser()._actions if action.dest == "==SUPPRESS==" and action.choices)
    found = completions("")
    assert found.keys() == verbs.choices.keys() and found["list"] == "list the experiments of a Dora folder"


def test_no_training_package_is_imported(xps, monkeypatch):
    assert completions(f"run -P nowhere {SIG} --checkpoint ") == {}
    monkeypatch.setenv("DORA_PACKAGE", "nowhere")
    assert completions("run 9357") == {} and completions(f"run outputs/xps/{SIG} --checkpoint 5").keys() == {"5"}
    assert completions("run --dora-dir outputs 9357").keys() == {SIG}


def test_outside_of_a_dora_folder_nothing_is_offered_or_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in ("run 9", "run --grid ", "run --metric ", "list --solver ", "run --checkpoint "):
        assert completions(line) == {}


def test_hostile_names_and_overrides_are_not_passed_to_the_terminal(xps):
    (xps / "935\x1b[2J").mkdir()
    (xps / "935\nrm").mkdir()
    (xps / SIG / ".argv.json").write_text(json.dumps(["a=\x1b[2J\tb\n", "url=http://joe:pw@host/x"]))
    found = completions("run 93")
    assert found == {SIG: "musicgen, ce 1.25, a=\\x1b[2J\\tb\\n url=http://host/x", UNTRAINED: ""}


def test_broken_files_of_an_experiment_leave_its_signature(xps):
    for name in (".argv.json", "history.json", ".hydra/config.yaml"):
        (xps / SIG / name).write_bytes(b"\xff{")
    assert completions("run 9357") == {SIG: ""}


def test_bash_which_shows_no_descriptions_reads_none(xps, monkeypatch):
    monkeypatch.setenv("_ARGCOMPLETE_SHELL", "bash")
    assert dict(completers._signatures("93", Namespace(dora_dir=None, package=None, targets=[]))) == {
        SIG: "", UNTRAINED: ""}


def offered(dest, prefix="", metavar=None, **args):
    """Return the values of an argument that no command may have yet."""
    action = Namespace(dest=dest, metavar=metavar, choices=None)
    return completers.complete_value(prefix, action, Namespace(dora_dir=None, package=None, targets=[], **args))


def test_descriptions_end_when_they_take_too_long(xps, monkeypatch):
    assert offered("targets", "93", "SIG|PATH")[SIG]
    monkeypatch.setattr(completers, "MAX_COMPLETION_SECONDS", 0)
    assert offered("targets", "93", "SIG|PATH") == {SIG: "", UNTRAINED: ""} and offered("solver") == {}


def test_commands_are_described_by_their_help_and_formats_by_nothing(xps):
    assert completions("help conv") == {"convert": convert.SUMMARY} and completions("help l")["ls"] == list_.SUMMARY
    assert completions(f"convert {SIG} --to ") == {"audiocraft": "", "safetensors": ""}


def test_sort_keys_are_those_of_list_and_the_metrics(xps):
    assert {"age", "metric", "sig", "size", "ce", "train.ce"} == offered("sort", metavar="KEY").keys()


def test_columns_are_keys_of_json_lines_each_offered_once(xps):
    assert offered("columns")["best"] == "best value of the metric"
    found = offered("columns", "sig,b")
    assert "sig,best" in found and "sig,sig" not in found and "sig,schema" not in found


def test_a_thousand_experiments_take_less_than_a_third_of_a_second_more_than_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    none = cpu_seconds("run ")
    history = json.dumps([{"train": {"ce": 2., "ppl": 8.}, "valid": {"ce": 1., "ppl": 3.}}] * 20)
    for index in range(1000):
        folder = tmp_path / "outputs" / "xps" / f"{index:08x}"
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "config.yaml").write_text("dim: 3\n" * 300 + "solver: musicgen\n")
        (folder / "history.json").write_text(history)
        (folder / ".argv.json").write_text(f'["dim={index}"]')
    assert len(completions("run ")) == 1000
    assert cpu_seconds("run ") - none < 1 / 3


def cpu_seconds(line):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    completions(line)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
