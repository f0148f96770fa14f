"""What stands behind --slurm, without a cluster."""

import os
import shutil
from functools import partial

import pytest
from helpers import run

from audiocraft_export import ExportError
from audiocraft_export.errors import OptionError
from audiocraft_export.jobs.slurm import Slurm

COMMANDS = ("sbatch", "srun", "squeue", "scancel")


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands of Slurm, which do nothing: there is one."""
    for name in COMMANDS:
        (tmp_path / name).symlink_to(shutil.which("true"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize(("settings", "expected"), [
    ([], {"time": "60", "cpus-per-task": "1", "mem": "4096M"}),
    (["mem_gb=0.5", "cpus=3", "partition=a", "time=1:00:00"],
     {"mem": "512M", "cpus-per-task": "3", "partition": "a", "time": "1:00:00"}),
    (["mem_per_cpu=2G", "qos=low"], {"time": "60", "cpus-per-task": "1", "mem-per-cpu": "2G", "qos": "low"})])
def test_settings_are_options_of_sbatch(commands, tmp_path, settings, expected):
    found = Slurm([*settings, f"folder={tmp_path}/x"], tmp_path)
    assert {name: found._sbatch.get(name) for name in expected} == expected and found.folder.parent == tmp_path / "x"


@pytest.mark.parametrize(("setting", "says"), [
    ("time=", "it takes key=value"), ("mem_gb=much", "much is no positive"), ("mem_gb=nan", "no positive number"),
    ("cpus=1.5", "1.5 is no positive whole"), ("array=1-3", "array is decided by"), ("output=x", "output is decided")])
def test_a_setting_that_is_none_is_said(commands, tmp_path, setting, says):
    with pytest.raises(OptionError, match=says):
        Slurm([setting], tmp_path)


def test_jobs_are_dealt_out_in_chunks(commands, tmp_path):
    jobs = [int] * 7
    dealt = [[*part] for part in Slurm([], tmp_path, chunk=3).partition(jobs)]
    assert dealt == [[0, 3, 6], [1, 4], [2, 5]]


def test_where_there_is_no_slurm_that_is_one_sentence(make_xp, tmp_path):
    make_xp()
    result = run("audiocraft_export", "run", "--all", "--slurm", "partition=a", cwd=tmp_path, PATH=str(tmp_path))
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "There is no Slurm here (no sbatch, srun, squeue, scancel on $PATH)" in result.stderr


@pytest.mark.parametrize("argv", [
    ["--chunk", "2", "0123abcd"], ["--bands", "--folder", "x", "0123abcd", "--slurm"], ["--all", "--slurm", "array=3"],
    ["--all", "--chunk", "0", "--slurm"], ["--slurm", "a=b"]])
def test_what_makes_no_sense_with_slurm_is_wrong_usage(make_xp, commands, tmp_path, argv):
    make_xp()
    assert run("audiocraft_export", "run", *argv, cwd=tmp_path).returncode == 2


def test_targets_may_stand_behind_the_settings_of_slurm(make_xp, commands, tmp_path):
    make_xp()
    result = run("audiocraft_export", "run", "--slurm", "time=5", "0123abcd", "mem_gb=1", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("0123abcd would be exported")


def test_a_disk_that_takes_nothing_is_said(commands, tmp_path, monkeypatch):
    executor = Slurm([], tmp_path)
    monkeypatch.setattr(executor, "_make_folder", lambda: None)
    with pytest.raises(ExportError, match=r"cannot be written \(No such file or directory\): make room there"):
        next(executor.run([partial(int, "0")]))
