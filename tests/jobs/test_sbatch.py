"""Options of sbatch, and the variables that could overrule them."""

import os

import pytest

from audiocraft_export.errors import OptionError
from audiocraft_export.jobs.sbatch import clean_sbatch_env, sbatch_options


def test_defaults_give_way_to_settings():
    assert sbatch_options([]) == {"time": "60", "cpus-per-task": "1", "mem": "4096M", "signal": "CONT@1"}
    found = sbatch_options(["mem_gb=1.5", "cpus=2", "mem_per_gpu=1G", "mail_user=me=you"])
    assert found["mem"] == "1536M" and found["cpus-per-task"] == "2" and found["mail-user"] == "me=you"
    assert "mem" not in sbatch_options(["mem_per_cpu=1G"])


@pytest.mark.parametrize("setting", ["time", "=3", "Time=3", "mem_gb=0", "mem_gb=inf", "cpus=-1", "signal=USR2"])
def test_what_is_no_option_is_refused(setting):
    with pytest.raises(OptionError, match=f"^--slurm {setting} is no option: "):
        sbatch_options([setting])


def test_variables_that_overrule_options_are_hidden_for_a_while(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name in ("SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_JOB_NAME", "SLURM_CONF", "SLURM_X"):
        monkeypatch.setenv(name, "mine")
    before = dict(os.environ)
    with clean_sbatch_env({"partition": "debug"}):
        assert {*before} - {*os.environ} == {"SBATCH_PARTITION", "SBATCH_JOB_NAME"}
        monkeypatch.setenv("SLURM_JOB_ID", "1")
        with clean_sbatch_env({}):
            assert "SLURM_X" not in os.environ and "SLURM_CONF" in os.environ
    assert dict(os.environ) == {**before, "SLURM_JOB_ID": "1"}
