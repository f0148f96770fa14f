"""Run jobs as a Slurm job array, without a cluster."""

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
    """Replace the commands of Slurm with commands that do nothing."""
    for name in COMMANDS:
        (tmp_path / name).symlink_to(shutil.which("true"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_jobs_are_dealt_out_in_chunks(commands, tmp_path):
    jobs = [int] * 7
    dealt = [[*part] for part in Slurm({}, tmp_path, chunk=3).partition(jobs)]
    assert dealt == [[0, 3, 6], [1, 4], [2, 5]]


def test_a_missing_slurm_is_one_error(make_xp, tmp_path):
    make_xp()
    result = run("audiocraft_export", "run", "--all", "--slurm", "partition=a", cwd=tmp_path, PATH=str(tmp_path))
    error, hint = result.stderr.splitlines()
    assert result.returncode == 1 and error.endswith(
        "error[slurm-not-found]: Slurm is not available: sbatch, srun, squeue, scancel not found on $PATH")
    assert hint == "  hint: run this on a login node, or use --jobs instead of --slurm"


@pytest.mark.parametrize("argv", [
    ["--chunk", "2", "0123abcd"], ["--bands", "--folder", "x", "0123abcd", "--slurm"], ["--all", "--slurm", "array=3"],
    ["--all", "--chunk", "0", "--slurm"], ["--slurm", "a=b"]])
def test_invalid_combinations_with_slurm_are_usage_errors(make_xp, commands, tmp_path, argv):
    make_xp()
    assert run("audiocraft_export", "run", *argv, cwd=tmp_path).returncode == 2


def test_targets_may_stand_behind_the_settings_of_slurm(make_xp, commands, tmp_path):
    make_xp()
    result = run("audiocraft_export", "run", "--slurm", "time=5", "0123abcd", "mem_gb=1", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("0123abcd would be exported")


def test_a_job_folder_that_cannot_be_written_is_an_error(commands, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"Cannot write the job files to .*: Not a directory") as error:
        next(Slurm({}, tmp_path / "file").run([partial(int, "0")]))
    assert error.value.code == "invalid-job-folder"
    assert error.value.hint == "choose another folder with --slurm folder=DIR"


def test_a_folder_name_that_slurm_would_expand_is_refused(commands, tmp_path):
    with pytest.raises(ExportError, match="contains a % or a line break") as error:
        Slurm({}, tmp_path / "100%")
    assert error.value.code == "invalid-job-folder"


def test_jobs_that_sbatch_rejects_are_an_error_with_its_message(commands, tmp_path):
    (tmp_path / "sbatch").unlink()
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    with pytest.raises(ExportError, match="sbatch rejected the jobs: .*invalid partition") as error:
        next(Slurm({}, tmp_path / "jobs").run([partial(int, "0")]))
    assert error.value.code == "slurm-rejected"


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


def test_an_existing_folder_is_refused(commands, tmp_path, monkeypatch):
    array = Slurm({}, tmp_path)
    array.folder.mkdir()
    with pytest.raises(ExportError, match="File exists"):
        next(array.run([int]))
