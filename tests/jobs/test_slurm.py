"""A job array of Slurm, without a cluster."""

import os
import shutil
from functools import partial

import pytest
from helpers import run

from audiocraft_export import ExportError
from audiocraft_export.jobs.slurm import Slurm, clean_env

COMMANDS = ("sbatch", "srun", "squeue", "scancel")


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands of Slurm, which do nothing: there is one."""
    for name in COMMANDS:
        (tmp_path / name).symlink_to(shutil.which("true"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_jobs_are_dealt_out_in_chunks(commands, tmp_path):
    jobs = [int] * 7
    dealt = [[*part] for part in Slurm({}, tmp_path, chunk=3).partition(jobs)]
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


def test_a_disk_that_takes_nothing_is_said(commands, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"cannot be written \(Not a directory\): make room there"):
        next(Slurm({}, tmp_path / "file").run([partial(int, "0")]))


def test_variables_that_overrule_options_are_hidden_for_a_while(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name in ("SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_JOB_NAME", "SQUEUE_USERS", "SLURM_CONF", "SLURM_X"):
        monkeypatch.setenv(name, "mine")
    before = dict(os.environ)
    with clean_env({"partition": "debug"}):
        assert {*before} - {*os.environ} == {"SBATCH_PARTITION", "SBATCH_JOB_NAME", "SQUEUE_USERS"}
        monkeypatch.setenv("SLURM_JOB_ID", "1")
        with clean_env({}):
            assert "SLURM_X" not in os.environ and "SLURM_CONF" in os.environ
    assert dict(os.environ) == {**before, "SLURM_JOB_ID": "1"}


def test_a_folder_of_somebody_else_is_not_taken(commands, tmp_path, monkeypatch):
    array = Slurm({}, tmp_path)
    array.folder.mkdir()
    with pytest.raises(ExportError, match="File exists"):
        next(array.run([int]))
