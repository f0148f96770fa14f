"""The flag `--slurm`: its settings, and what becomes of the jobs if the command is stopped."""

import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Callable

from ..errors import OptionError
from .output import print_err

if TYPE_CHECKING:
    from ..jobs.slurm import Slurm

DEFAULTS = {"time": "60", "cpus-per-task": "1", "mem": "4096M",
            "signal": "CONT@1"}  # which does nothing: submitit's own kills a task that has only begun
MEMORY = {"mem-per-cpu", "mem-per-gpu"}  # instead of `mem`
RESERVED = {"array", "chdir", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output",
            "signal", "wrap"}


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
def leave_or_cancel(slurm: "Slurm") -> Iterator[None]:
    """While inside, ask a user who interrupts whether to leave the jobs to Slurm or to cancel them."""
    try:
        yield
    except BaseException as exc:
        if slurm.tasks:
            text = (f"The jobs go on: see them with squeue --name={slurm.name}, cancel them with scancel "
                    f"--name={slurm.name}; when they are over, run this again to see what is left to do.")
            if isinstance(exc, KeyboardInterrupt) and _asks_to_cancel(slurm.name):
                text = ("The jobs are cancelled; what they have done is done." if slurm.cancel() else
                        f"Slurm does not cancel the jobs: do it later, with scancel --name={slurm.name}.")
            print_err(text)
        raise


def _asks_to_cancel(name: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    with suppress(KeyboardInterrupt, OSError):
        print(f"\nLeave the jobs ({name}) to Slurm, or cancel them? [leave/cancel] ", end="", file=sys.stderr,
              flush=True)
        return sys.stdin.readline().strip().lower() in ("c", "cancel")
    return False


def _parse(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    key = name.replace("_", "-")
    if not value or not re.fullmatch(r"[a-z][a-z-]*", key):
        raise OptionError(f"--slurm {text} is no option: it takes key=value, as in partition=debug time=30 mem_gb=8.")
    if key in RESERVED:
        raise OptionError(f"--slurm {text} is no option: {name} is decided by the number of experiments, --chunk "
                          "and --jobs.")
    if key == "mem-gb":
        return "mem", f"{math.ceil(_positive(text, value, float) * 1024)}M"
    return ("cpus-per-task", f"{_positive(text, value, int):.0f}") if key == "cpus" else (key, value)


def _positive(text: str, value: str, kind: Callable[[str], float]) -> float:
    try:
        number = kind(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        whole = "whole " if kind is int else ""
        raise OptionError(f"--slurm {text} is no option: {value} is no positive {whole}number.")
    return number
