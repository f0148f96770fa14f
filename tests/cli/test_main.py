"""The whole command: arguments, suggestions, exit codes."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from audiocraft_export import export_xp
from audiocraft_export.cli import main

from .commands import command


def test_targets_may_stand_on_both_sides_of_options_and_begin_with_a_dash(train, tmp_path, dora_dir):
    (dora_dir / "xps").mkdir(parents=True)
    train("11111111", [], [1.])
    shutil.copytree(dora_dir / "xps" / "11111111", tmp_path / "-dash")
    result = command("run", "11111111", "--dry-run", "--", "-dash", cwd=tmp_path)
    assert result.stderr.endswith("2 XPs: 2 would be exported\n")


@pytest.mark.parametrize(("argv", "says"), [
    (["run", "1112"], "did you mean 11111111?"), (["list", "--dora-dir", "outputs/xps"], "did you mean --dora-dir "),
    (["list", "--srt", "age"], "did you mean --sort?"), (["list", "--sort", "metrc"], "did you mean metric?"),
    (["verfy"], "unknown command 'verfy'"), (["verfy"], "did you mean verify?"),
    (["verify", "1112"], "did you mean 11111111?"), (["run", "--grid", "sweep"], "dora grid was never run"),
    (["convert", "1112", "--to", "audiocraft"], "did you mean 11111111?")])
def test_the_near_miss_is_offered(train, tmp_path, dora_dir, argv, says):
    train("11111111", [], [1.])
    export_xp("11111111", dora_dir)
    assert says in command(*argv, cwd=tmp_path, code=2 if {"--srt", "metrc", "verfy"} & {*argv} else 1).stderr


@pytest.mark.parametrize("target", ["11111111", "111", "outputs/xps/11111111", "outputs/xps/11111111/export"])
@pytest.mark.parametrize("argv", [["verify"], ["convert", "--to", "audiocraft"]])
def test_a_release_is_named_by_its_experiment_too(train, tmp_path, dora_dir, argv, target):
    train("11111111", [], [1.])
    export_xp("11111111", dora_dir)
    assert "11111111/export" in command(*argv, target, cwd=tmp_path).stdout


@pytest.mark.parametrize("argv", [["list"], ["run", "1111", "--dry-run"]])
def test_a_reader_that_is_gone_is_one_exit_code_and_no_traceback(train, tmp_path, argv):
    train("11111111", [], [1.])
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([sys.executable, "-m", "audiocraft_export", *argv], cwd=tmp_path, stdout=writer,
                            stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert result.returncode == 1 and "Traceback" not in result.stderr


def test_the_exit_code_is_2_for_wrong_usage_and_130_when_interrupted(tmp_path, monkeypatch):
    assert "COMMAND" in command(cwd=tmp_path, code=2).stderr
    monkeypatch.setattr(main, "_build_parser", interrupt)
    command("list", cwd=tmp_path, code=130)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize(("exc", "code"), [
    (PermissionError(13, "Permission denied", "x"), "read-failed"), (RuntimeError("bug"), "unexpected-error")])
def test_an_exception_that_no_verb_expects_is_one_error_on_both_streams(monkeypatch, capsys, exc, code):
    def fail():
        raise exc
    monkeypatch.setattr(main, "_build_parser", fail)
    with pytest.raises(SystemExit) as end:
        main.main(["list", "--json"])
    out, err = capsys.readouterr()
    assert end.value.code == 1 and json.loads(out)["error"]["code"] == code
    assert err.startswith(f"error[{code}]: ") and "Traceback" not in err


QUIET = {"PYTHONWARNINGS": "ignore"}  # in a process of its own: the level of the log is that of the process


@pytest.mark.parametrize("argv", [["run", "11", "22"], ["run", "--all"], ["run", "11", "--dry-run"],
                                  ["run", "11", "22", "--force", "--weights", "last", "--jobs", "2"]])
def test_quiet_prints_errors_only(train, tmp_path, argv):
    for sig in ("11111111", "22222222"):
        train(sig, [], [1.])
    done = command("-q", *argv, cwd=tmp_path, **QUIET)
    assert (done.stdout, done.stderr) == ("", "")
    failed = command(*argv[:1], "nope", "11", "--quiet", cwd=tmp_path, code=1, **QUIET)
    assert failed.stdout == "" and [line.split()[0] for line in failed.stderr.splitlines()] == [
        "error[experiment-not-found]:", "hint:"]


def test_quiet_prints_damaged_files_and_what_was_asked_for(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    folder = export_xp("11111111", dora_dir).folder
    for argv in (["verify", "11", folder / "export.json"], ["convert", "11", "--to", "audiocraft"]):
        done = command(*argv, "-q", cwd=tmp_path, **QUIET)
        assert (done.stdout, done.stderr) == ("", "")
        assert json.loads(command(*argv, "-q", "--json", cwd=tmp_path, **QUIET).stdout.splitlines()[0])
    for argv in (["list", "--columns", "sig,state"], ["inspect", "11"], ["explain", "disk-full"]):
        assert command(*argv, "-q", cwd=tmp_path, **QUIET).stdout == command(*argv, cwd=tmp_path, **QUIET).stdout
    (folder / "state_dict.bin").write_bytes(b"x")
    assert "state_dict.bin: " in command("verify", "11", "-q", cwd=tmp_path, code=1, **QUIET).stdout


def test_verbose_prints_the_dora_folder_and_the_checkpoint(train, tmp_path):
    path = train("11111111", [], [1.]) / "checkpoint.th"
    said = command("run", "11", "-v", cwd=tmp_path, **QUIET).stderr.splitlines()
    assert {"Dora folder: outputs", f"Checkpoint of 11: {path}"} <= {*said}
    assert "Dora folder" not in command("run", "11", cwd=tmp_path, **QUIET).stderr
