"""Time and memory of `run --all` until its first export: on one core, in Dora folders with many experiments."""

import shutil
import sys
from functools import partial
from itertools import count as numbers
from pathlib import Path

from .experiments import dora_folder, mixture, up_to_date
from .measure import command, first_line, medians, medians_of, whole
from .report import Row

COUNTS = (1000, 10_000)
MIB = 1 << 20
_numbers = numbers()


def rows(runs):
    """Measure until the first export, for stale XPs and for all XPs; then a dry run."""
    put = mixture()
    folders = [dora_folder(Path(f"mixed_{count}"), count, put) for count in COUNTS]
    yield from _first(runs, "run --all", [partial(_command, folder) for folder in folders], most=1.25)
    yield from _first(runs, "run --all --folder", [partial(_elsewhere, folder) for folder in folders])
    few, many = medians_of(1, *(partial(whole, *_argv(folder), "--dry-run") for folder in folders))
    yield from _rows("run --all --dry-run", "whole command, once", few, many)
    current = dora_folder(Path(f"current_{COUNTS[-1]}"), COUNTS[-1], up_to_date())
    seconds, = medians(runs, partial(command, *_argv(current), "--dry-run"))
    yield Row(f"run --all --dry-run of {COUNTS[-1]:,} up-to-date XPs", None, "whole command", seconds, most=10)


def _first(runs, what, trials, most=None):
    few, many = medians_of(runs, *trials)
    yield from _rows(what, "to the first export", few, many, most_seconds=20, most=most)


def _rows(what, name, few, many, most_seconds=None, most=None):
    for count, (seconds, _) in zip(COUNTS, (few, many)):
        yield Row(f"{what} of {count:,} XPs", None, name, seconds, most=most_seconds if count == COUNTS[-1] else None)
    yield Row(f"memory, {what}", None, f"of {COUNTS[-1]:,}", many[1] / MIB, f"of {COUNTS[0]:,}", few[1] / MIB,
              most=most, unit="MiB")


def _argv(folder):
    return Path(sys.executable).parent / "audiocraft-export", "run", "--all", "--dora-dir", folder


def _command(folder):
    return first_line(*_argv(folder))


def _elsewhere(folder):
    """Measure with an empty output folder, so that all XPs have to be exported."""
    other = Path(f"elsewhere_{next(_numbers)}")
    try:
        return first_line(*_argv(folder), "--folder", other)
    finally:
        shutil.rmtree(other, ignore_errors=True)
