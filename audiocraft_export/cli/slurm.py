"""Parse the settings of `--slurm`, and ask after an interrupt whether to cancel the jobs."""

import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Callable

from ..errors import OptionError
from .output import print_note

if TYPE_CHECKING:
    from ..jobs.slurm import Slurm

DEFAULTS = {"time": "60", "cpus-per-task": "1", "mem": "4096M",
            "signal": "CONT@1"}  # without effect, unlike the default of submitit, which may kill new tasks
MEMORY = {"mem-per-cpu", "mem-per-gpu"}  # options that replace `mem`
RESERVED = {"array", "chdir", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output",
            "signal", "wrap"}


def sbatch_options(settings: Sequence[str]) -> dict[str, str]:
    """Parse `key=value` settings into options of sbatch, and `folder` if given.

    Args:
        settings: `mem_gb` (GiB) and `cpus` per task, `folder` for the scripts and logs of the jobs, and options of
            sbatch such as `partition`, `time` (in minutes, or in a format of sbatch), `account` and `qos`.

    Raises:
        OptionError: if a setting is invalid.
    """
    options = dict(_parse(text) for text in settings)
    defaults = {key: value for key, value in DEFAULTS.items() if key != "mem" or not MEMORY & {*options}}
    return {**defaults, **options}


@contextmanager
def leave_or_cancel(slurm: "Slurm") -> Iterator[None]:
    """Ask on an interrupt whether to leave the jobs running or to cancel them, and print how to follow them."""
    try:
        yield
    except BaseException as exc:
        if slurm.tasks:
            text = (f"The jobs keep running. List them with squeue --name={slurm.name}, cancel them with scancel "
                    f"--name={slurm.name}; run the command again afterwards to export what is left.")
            if isinstance(exc, KeyboardInterrupt) and _asks_to_cancel(slurm.name):
                text = ("Jobs cancelled. Finished exports are kept." if slurm.cancel() else
                        f"Slurm did not cancel the jobs. Cancel them with scancel --name={slurm.name}.")
            print_note(text)
        raise


def _asks_to_cancel(name: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    with suppress(KeyboardInterrupt, OSError):
        print(f"\nLeave the jobs ({name}) running, or cancel them? [leave/cancel] ", end="", file=sys.stderr,
              flush=True)
        return sys.stdin.readline().strip().lower() in ("c", "cancel")
    return False


def _parse(text: str) -> tuple[str, str]:
    """Convert a setting to the name and value of an option of sbatch."""
    name, _, value = text.partition("=")
    key = name.replace("_", "-")
    if not value or not re.fullmatch(r"[a-z][a-z-]*", key):
        raise OptionError("invalid-option", f"Invalid setting '{text}' for --slurm: expected KEY=VALUE",
                          "write for example partition=debug time=30 mem_gb=8")
    if key in RESERVED:
        raise OptionError("invalid-option", f"Invalid setting '{text}' for --slurm: audiocraft-export sets {name} "
                          "itself", f"remove {text}")
    if key == "mem-gb":
        return "mem", f"{math.ceil(_positive(text, value, float) * 1024)}M"
    return ("cpus-per-task", f"{_positive(text, value, int):.0f}") if key == "cpus" else (key, value)


def _positive(text: str, value: str, kind: Callable[[str], float]) -> float:
    """Return the number in a setting; raise an error unless it is positive."""
    try:
        number = kind(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        expected = "integer" if kind is int else "number"
        raise OptionError("invalid-option", f"Invalid setting '{text}' for --slurm: expected a positive {expected}")
    return number
