"""Options of sbatch: what stands behind `--slurm`, and nothing that the environment adds to it."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..errors import OptionError

DEFAULTS = {"time": "60", "cpus-per-task": "1", "mem": "4096M",
            "signal": "CONT@1"}  # which does nothing: submitit's own kills a task that has only begun
MEMORY = {"mem-per-cpu", "mem-per-gpu"}  # instead of `mem`
RESERVED = {"array", "chdir", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output",
            "signal", "wrap"}
INHERITED = {f"SBATCH_{name}"
             for name in ("ACCOUNT", "CLUSTERS", "CONSTRAINT", "PARTITION", "QOS", "RESERVATION")}


def sbatch_options(settings: Sequence[str]) -> dict[str, str]:
    """Parse `key=value` settings into options of sbatch, and `folder` if it is among them.

    Args:
        settings: `mem_gb` and `cpus` of a task, the `folder` for the files of the jobs, and options of sbatch, as
            `partition`, `time` (in minutes, or as sbatch takes it), `account` and `qos`.

    Raises:
        OptionError: if one of them is invalid.
    """
    options = dict(_parse(text) for text in settings)
    defaults = {key: value for key, value in DEFAULTS.items() if key != "mem" or not MEMORY & {*options}}
    return {**defaults, **options}


@contextmanager
def clean_sbatch_env(options: Mapping[str, str]) -> Iterator[None]:
    """While inside, no variable overrules the options of an sbatch script, and a job hands none of its own on."""
    kept = {"SLURM_CONF", *INHERITED} - {f"SBATCH_{name.upper().replace('-', '_')}" for name in options}
    prefixes = ("SBATCH_", *(("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_") if "SLURM_JOB_ID" in os.environ else ()))
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(prefixes) and name not in kept}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _parse(text: str) -> tuple[str, str]:
    name, equal, value = text.partition("=")
    key = name.replace("_", "-")
    if not equal or not value or not re.fullmatch(r"[a-z][a-z-]*", key):
        raise OptionError(f"--slurm {text} is no option: it takes key=value, as in partition=debug time=30 mem_gb=8.")
    if key in RESERVED:
        raise OptionError(f"--slurm {text} is no option: {name} is decided by the number of experiments, --chunk "
                          "and --jobs.")
    if key == "mem-gb":
        return "mem", f"{math.ceil(_positive(text, value) * 1024)}M"
    if key == "cpus":
        return "cpus-per-task", f"{_positive(text, value, whole=True):.0f}"
    return key, value


def _positive(text: str, value: str, whole: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf or whole and number % 1:
        kind = "whole number" if whole else "number"
        raise OptionError(f"--slurm {text} is no option: {value} is no positive {kind}.")
    return number
