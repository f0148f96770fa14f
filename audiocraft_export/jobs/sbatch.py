"""What Slurm is told of a task: what stands behind `--slurm`, and nothing that the environment adds to it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..errors import OptionError

DEFAULTS = {"time": "60", "cpus-per-task": "1", "mem": "4096M",
            "signal": "CONT@1"}  # which does nothing: submitit's own kills a task that has only begun
MEMORY = {"mem-per-cpu", "mem-per-gpu"}  # instead of `mem`
OURS = {"array", "chdir", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "signal",
        "wrap"}
KEPT = {f"SBATCH_{name}" for name in ("ACCOUNT", "CLUSTERS", "CONSTRAINT", "PARTITION", "QOS", "RESERVATION")}


def sbatch_options(settings: Sequence[str]) -> dict[str, str]:
    """Options of sbatch, and `folder` if it is among the settings.

    Args:
        settings: `key=value` each: `mem_gb` and `cpus` of a task, the `folder` for the files of the jobs, and options
            of sbatch, as `partition`, `time` (in minutes, or as sbatch takes it), `account` and `qos`.

    Raises:
        OptionError: if one of them is none.
    """
    options = {}
    for text in settings:
        name, equal, value = text.partition("=")
        key = name.replace("_", "-")
        if not equal or not value or not re.fullmatch(r"[a-z][a-z-]*", key):
            raise OptionError(f"--slurm {text} is no option: it takes key=value, as in partition=debug time=30 "
                              "mem_gb=8.")
        if key in OURS:
            raise OptionError(f"--slurm {text} is no option: {name} is decided by the number of experiments, --chunk "
                              "and --jobs.")
        if key == "mem-gb":
            key, value = "mem", f"{math.ceil(_positive(text, value) * 1024)}M"
        elif key == "cpus":
            key, value = "cpus-per-task", f"{_positive(text, value, whole=True):.0f}"
        options[key] = value
    defaults = {key: value for key, value in DEFAULTS.items() if key != "mem" or not MEMORY & {*options}}
    return {**defaults, **options}


@contextmanager
def nothing_else(options: Mapping[str, str]) -> Iterator[None]:
    """While inside, no variable overrules what sbatch is told in its script, and a job hands none of its own on.

    Args:
        options: what it is told.
    """
    kept = {"SLURM_CONF", *KEPT} - {f"SBATCH_{name.upper().replace('-', '_')}" for name in options}
    prefixes = ("SBATCH_", *(("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_") if "SLURM_JOB_ID" in os.environ else ()))
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(prefixes) and name not in kept}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _positive(text: str, value: str, whole: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf or whole and number % 1:
        raise OptionError(f"--slurm {text} is no option: {value} is no positive {'whole ' * whole}number.")
    return number
