"""The command as a whole: its arguments, near misses, exit codes."""

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
    assert result.stderr.endswith("2 of 2 can be exported.\n")


@pytest.mark.parametrize(("argv", "says"), [
    (["run", "1112"], "did you mean 11111111?"), (["list", "--dora-dir", "outputs/xps"], "outputs, in which it lies"),
    (["verify", "outputs/xps/11111111"], "its release is outputs/xps/11111111/export"),
    (["list", "--srt", "age"], "did you mean --sort?"), (["run", "--grid", "sweep"], "dora grid was never run there")])
def test_the_near_miss_is_offered(train, tmp_path, dora_dir, argv, says):
    train("11111111", [], [1.])
    export_xp("11111111", dora_dir)
    assert says in command(*argv, cwd=tmp_path, code=2 if "--srt" in argv else 1).stderr


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
