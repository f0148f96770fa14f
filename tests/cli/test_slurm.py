"""Parse the settings of --slurm."""

import pytest

from audiocraft_export.cli.slurm import sbatch_options
from audiocraft_export.errors import OptionError


def test_defaults_give_way_to_settings():
    assert sbatch_options([]) == {"time": "60", "cpus-per-task": "1", "mem": "4096M", "signal": "CONT@1"}
    found = sbatch_options(["mem_gb=1.5", "cpus=2", "mem_per_gpu=1G", "mail_user=me=you"])
    assert found["mem"] == "1536M" and found["cpus-per-task"] == "2" and found["mail-user"] == "me=you"
    assert "mem" not in sbatch_options(["mem_per_cpu=1G"])


@pytest.mark.parametrize("setting", ["time", "=3", "Time=3", "mem_gb=0", "mem_gb=inf", "cpus=-1", "signal=USR2"])
def test_unknown_options_are_refused(setting):
    with pytest.raises(OptionError, match=f"^Invalid setting '{setting}' for --slurm: "):
        sbatch_options([setting])


@pytest.mark.parametrize(("settings", "expected"), [
    ([], {"time": "60", "cpus-per-task": "1", "mem": "4096M"}),
    (["mem_gb=0.5", "cpus=3", "partition=a", "time=1:00:00"],
     {"mem": "512M", "cpus-per-task": "3", "partition": "a", "time": "1:00:00"}),
    (["mem_per_cpu=2G", "qos=low"], {"time": "60", "cpus-per-task": "1", "mem-per-cpu": "2G", "qos": "low"})])
def test_settings_are_options_of_sbatch(settings, expected):
    found = sbatch_options([*settings, "folder=x"])
    assert {name: found.get(name) for name in expected} == expected and found["folder"] == "x"


@pytest.mark.parametrize(("setting", "says"), [
    ("time=", "expected KEY=VALUE"), ("mem_gb=much", "expected a positive number"),
    ("mem_gb=nan", "expected a positive number"), ("cpus=1.5", "expected a positive integer"),
    ("array=1-3", "audiocraft-export sets array itself"), ("output=x", "audiocraft-export sets output itself")])
def test_an_invalid_setting_is_reported(setting, says):
    with pytest.raises(OptionError, match=says):
        sbatch_options([setting])
