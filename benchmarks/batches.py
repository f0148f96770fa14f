"""Time to export many small experiments with one command."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from .experiments import SMALL, experiment
from .measure import command, medians, seconds, settle
from .report import Row

COUNT = 50


def rows(runs):
    """Measure one process and two processes."""
    folders = [experiment(**SMALL, seed=seed) for seed in range(COUNT)]
    _run(folders, 1)
    nbytes = sum((folder / "export" / "state_dict.bin").stat().st_size for folder in folders)
    one, two, copies, import_s = medians(runs, partial(_run, folders, 1), partial(_run, folders, 2),
                                         partial(_copies, folders),
                                         partial(command, sys.executable, "-c", "import torch"))
    yield Row(f"run {COUNT} small XPs", nbytes, "--jobs 1", one, "import torch + 1.3 cp of each",
              import_s + 1.3 * copies, most=1)
    yield Row(f"run {COUNT} small XPs", nbytes, "--jobs 2", two, "--jobs 1", one, most=1)


def _run(folders, jobs):
    for folder in folders:
        shutil.rmtree(folder / "export", ignore_errors=True)
    settle()
    return command(Path(sys.executable).parent / "audiocraft-export", "run", *(folder.name for folder in folders),
                   "--jobs", str(jobs))


def _copies(folders):
    settle()
    return sum(seconds(_copy, folder / "export") for folder in folders)


def _copy(release):
    for name in ("state_dict.bin", "export.json"):
        subprocess.run(["cp", release / name, "copy.bin"], check=True)
        descriptor = os.open("copy.bin", os.O_RDWR)
        os.fsync(descriptor)
        os.close(descriptor)
        os.unlink("copy.bin")
