"""Tasks of a batch as an array of Slurm, one for each; only CPUs are asked for."""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from . import progress
from .console import say
from .errors import ExportError, OptionError, reason
from .task import Numbered, Task, last_words

if TYPE_CHECKING:
    import submitit

FOLDER = "export_jobs"  # in the Dora folder
COMMANDS = ("sbatch", "srun", "squeue", "scancel")
DEFAULTS = {"time": "60", "cpus-per-task": "1", "mem": "4096M",
            "signal": "CONT@1"}  # which does nothing: submitit's own kills a task that has only begun
MEMORY = ("mem-per-cpu", "mem-per-gpu")  # instead of `mem`
OURS = ("array", "chdir", "error", "job-name", "nodes", "ntasks", "open-mode", "output", "signal", "wrap")
GONE = "no longer known to Slurm"
OVER = {GONE, "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
        "REVOKED", "TIMEOUT"}
ASK_SOON, ASK_LATE = 2., 30.  # seconds between two questions to Slurm
TIDY = 20.  # seconds to wait for tasks that have nothing more to do


class Slurm:
    """A job array of Slurm, which can go on without this process.

    Args:
        settings: `key=value` each, as they stand behind `--slurm`: `mem_gb` and `cpus` of a task, the `folder` in which
            that of the tasks is to be, and options of sbatch, as `partition`, `time` (in minutes, or as sbatch takes
            it), `account` and `qos`.
        folder: where that of the tasks is to be, if they do not say; all nodes see it.
        chunk: how many jobs one task does.
        at_once: how many tasks may run at once; None is what submitit takes.

    Raises:
        OptionError: if one of the settings is none.
        ExportError: if there is no Slurm.
    """

    look = 0.5
    tell = 2.
    patience = 5.
    heap: Optional[Path] = None
    leash: Optional[Path] = None

    def __init__(self, settings: Sequence[str], folder: Path, chunk: int = 1, at_once: Optional[int] = None) -> None:
        self._sbatch = _sbatch_options(settings)
        self.folder = Path(self._sbatch.pop("folder", folder)).absolute() / \
            f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self._name = f"export-{self.folder.name}"
        self._chunk, self._at_once = chunk, at_once
        self._started: list[submitit.Job[Any]] = []
        self._forget()
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise ExportError(f"There is no Slurm here (no {', '.join(missing)} on $PATH): run this where jobs are "
                              "submitted, or with --jobs instead of --slurm.")

    def __enter__(self) -> Slurm:
        try:
            self.folder.mkdir(parents=True)
        except OSError as exc:
            raise ExportError(f"The folder for the jobs, {self.folder}, cannot be made ({reason(exc)}): name another "
                              "one, which all nodes see, with --slurm folder=DIR.") from exc
        return self

    def __exit__(self, kind: Any, exc: Any, traceback: Any) -> None:
        if kind is None:
            self._tidy_up()
        elif not self._started:
            self._remove()
        elif issubclass(kind, (KeyboardInterrupt, GeneratorExit)) and self._is_to_be_cancelled():
            subprocess.run(["scancel", f"--name={self._name}"], check=False)
            say("The jobs are cancelled; what they have done is done.")
        else:
            say(f"The jobs go on: see them with squeue --name={self._name}, cancel them with scancel "
                f"--name={self._name}; when they are over, run this again to see what is left to do.")

    def deal(self, jobs: Sequence[Numbered]) -> list[Sequence[Numbered]]:
        """The jobs of each task; those that come first in all of them are done first."""
        count = math.ceil(len(jobs) / self._chunk)
        return [jobs[first::count] for first in range(count)]

    def submit(self, tasks: Sequence[Task]) -> Sequence[submitit.Job[Any]]:
        """Submit an array.

        Raises:
            ExportError: if Slurm does not take it.
        """
        import submitit
        executor = submitit.SlurmExecutor(self.folder)
        at_once = {} if self._at_once is None else {"array_parallelism": self._at_once}
        executor.update_parameters(job_name=self._name, ntasks_per_node=1, additional_parameters=dict(self._sbatch),
                                   **at_once)
        try:
            with _as_if_outside(), redirect_stderr(StringIO()):  # submitit prints what sbatch says
                started = executor.submit_array(tasks)
        except (RuntimeError, OSError) as exc:
            why = "; ".join(str(exc).replace("sbatch: error: ", "").splitlines())
            raise ExportError(f"Slurm does not take the jobs ({why}): change what stands behind --slurm, or, if these "
                              "are too many, give each of them more experiments with --chunk.") from exc
        self._started += started
        self._forget()
        return started

    def end_of(self, started: submitit.Job[Any]) -> Optional[str]:
        """What Slurm and the log say of a task that is over."""
        state = self._state_of(started.job_id)
        if state is None:
            return None
        log = started.paths.stderr
        return ", ".join(filter(None, (state, last_words(log), f"log {log}")))

    def _forget(self) -> None:
        self._states: Optional[Mapping[str, str]] = None
        self._began, self._asked = time.monotonic(), -math.inf

    def _state_of(self, job_id: str) -> Optional[str]:
        """How a task has ended, as far as Slurm knows; None as long as it has not, or nobody knows."""
        now = time.monotonic()
        if now >= self._asked + min(ASK_LATE, max(ASK_SOON, (now - self._began) / 10)):
            self._asked, self._states = now, self._ask()
        state = None if self._states is None else self._states.get(job_id, GONE)
        return state if state in OVER else None

    def _ask(self) -> Optional[Mapping[str, str]]:
        """The state of each task; None where Slurm does not answer. Not all clusters have accounting (sacct)."""
        command = ["squeue", "--noheader", "--array", "--states=all", f"--name={self._name}", "--format=%i %T"]
        try:
            answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return dict(line.split() for line in answer.stdout.decode().splitlines())

    def _is_to_be_cancelled(self) -> bool:
        """Ask whoever stopped this, if anybody can be asked."""
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        with progress.aside(), suppress(KeyboardInterrupt, OSError):
            print(f"\nLeave the jobs ({self._name}) to Slurm, or cancel them? [leave/cancel] ", end="", file=sys.stderr,
                  flush=True)
            return sys.stdin.readline().strip().lower() in ("c", "cancel")
        return False

    def _tidy_up(self) -> None:
        """Remove the folder, once nobody writes to it any more and unless somebody may want to look into it."""
        self._forget()
        end = time.monotonic() + TIDY
        states = {self._state_of(started.job_id) for started in self._started}
        while None in states and time.monotonic() < end:
            time.sleep(self.look)
            states = {self._state_of(started.job_id) for started in self._started}
        if states <= {"COMPLETED", GONE}:
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others are there
            self.folder.parent.rmdir()


@contextmanager
def _as_if_outside() -> Iterator[None]:
    """While inside, a job that submits another one does not hand its own settings on."""
    inside = "SLURM_JOB_ID" in os.environ
    hidden = {name: os.environ.pop(name) for name in [*os.environ]
              if inside and name.startswith(("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")) and name != "SLURM_CONF"}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _sbatch_options(settings: Sequence[str]) -> dict[str, str]:
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
            key, value = "cpus-per-task", f"{math.ceil(_positive(text, value))}"
        options[key] = value
    defaults = {key: value for key, value in DEFAULTS.items() if key != "mem" or not {*MEMORY} & {*options}}
    return {**defaults, **options}


def _positive(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise OptionError(f"--slurm {text} is no option: {value} is no positive number.")
    return number
