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
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from .. import progress
from ..cli.output import print_err
from ..errors import ExportError, reason
from .sbatch import nothing_else, sbatch_options
from .worker import Numbered, Task, last_words

if TYPE_CHECKING:
    import submitit

FOLDER = "export_jobs"  # in the Dora folder
COMMANDS = ("sbatch", "srun", "squeue", "scancel")
DONE, GONE = "COMPLETED", "no longer known to Slurm"
OVER = {DONE, GONE, "BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
        "REVOKED", "TIMEOUT"}
ANSWER = re.compile(r"(\d+(?:_\d+)?) ([A-Z_]+)")  # some clusters let squeue say more
ASK_SOON, ASK_LATE, ASK_LONGEST = 2., 30., 10.  # seconds between two questions to Slurm, and for the answer
TIDY = 10.  # seconds to wait for tasks that have nothing more to do


class Slurm:
    """A job array of Slurm, which can go on without this process.

    Args:
        settings: as they stand behind `--slurm`, for `sbatch_options`.
        folder: where that of the tasks is to be, if they do not say; all nodes see it.
        chunk: how many jobs one task does.
        at_once: how many tasks may run at once; None is all of them.

    Raises:
        OptionError: if one of the settings is none.
        ExportError: if there is no Slurm, or the folder cannot be one for it.
    """

    look = 0.5
    tell = 2.
    heap: Optional[Path] = None
    leash: Optional[Path] = None

    def __init__(self, settings: Sequence[str], folder: Path, chunk: int = 1, at_once: Optional[int] = None) -> None:
        self._sbatch = sbatch_options(settings)
        home = Path(self._sbatch.pop("folder", folder)).expanduser().absolute()
        if re.search(r"[%\n]", str(home)):
            raise ExportError(f"The folder for the jobs, {home}, has a % or a line break in its name, which Slurm "
                              "takes for something else: name another one with --slurm folder=DIR.")
        self.folder = home / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self._name = f"export-{self.folder.name}"
        self._chunk, self._at_once = chunk, at_once
        self._started: list[submitit.Job[Any]] = []
        self._any_failed = False
        self._forget()
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise ExportError(f"There is no Slurm here (no {', '.join(missing)} on $PATH): run this where jobs are "
                              "submitted, or with --jobs instead of --slurm.")

    def __enter__(self) -> Slurm:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(0o700)  # what is in there is unpickled
        except OSError as exc:
            raise ExportError(f"The folder for the jobs, {self.folder}, cannot be made ({reason(exc)}): name another "
                              "one, which all nodes see, with --slurm folder=DIR.") from exc
        return self

    def __exit__(self, kind: Any, exc: Any, traceback: Any) -> None:
        if kind is None:
            self._tidy_up()
        elif not self._started:
            self._cancel()  # who is stopped while sbatch works does not know what that has done
            self._remove()
        elif KeyboardInterrupt in (kind, type(exc.__context__)) and self._is_to_be_cancelled():
            print_err("The jobs are cancelled; what they have done is done." if self._cancel() else
                f"Slurm does not cancel the jobs: do it later, with scancel --name={self._name}.")
        else:
            print_err(f"The jobs go on: see them with squeue --name={self._name}, cancel them with scancel "
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
        executor.update_parameters(job_name=self._name, ntasks_per_node=1, additional_parameters=dict(self._sbatch),
                                   array_parallelism=self._at_once or len(tasks))
        try:
            with nothing_else(self._sbatch), redirect_stderr(StringIO()):  # submitit prints what sbatch says
                started = executor.submit_array(tasks)
        except RuntimeError as exc:
            why = "; ".join(str(exc).replace("sbatch: error: ", "").splitlines())
            raise ExportError(f"Slurm does not take the jobs ({why}): change what stands behind --slurm, or, if these "
                              "are too many, give each of them more experiments with --chunk.") from exc
        self._started += started
        self._forget()
        return started

    def end_of(self, started: submitit.Job[Any]) -> Optional[str]:
        """The state of a task that is over."""
        state = self._state_of(started.job_id)
        self._any_failed |= state not in (None, DONE)
        return state

    def patience(self, end: str) -> float:
        """How long to wait for what a task said last: one that did its work has said so, whenever that is seen."""
        return 60. if end == DONE else 5.

    def story(self, started: submitit.Job[Any], end: str) -> str:
        """What its log and Slurm say; the state comes last."""
        log = started.paths.stderr
        return ", ".join(filter(None, (f"log {log}", last_words(log), end)))

    def _forget(self) -> None:
        self._states: Optional[Mapping[str, str]] = None
        self._began, self._asked = time.monotonic(), -math.inf

    def _state_of(self, job_id: str) -> Optional[str]:
        """How a task has ended, as far as Slurm knows; None as long as it has not, or nobody knows."""
        now = time.monotonic()
        if now >= self._asked + min(ASK_LATE, max(ASK_SOON, (now - self._began) / 10)):
            self._states = self._ask()
            self._asked = time.monotonic()
        state = None if self._states is None else self._states.get(job_id, GONE)
        return state if state in OVER else None

    def _ask(self) -> Optional[Mapping[str, str]]:
        """The state of each task; None where Slurm does not answer. Not all clusters have accounting (sacct)."""
        command = ["squeue", "--noheader", "--array", "--states=all", f"--name={self._name}", "--format=%i %T"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
        try:
            answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=ASK_LONGEST,
                                    check=True, env=env, text=True, errors="replace").stdout
        except (OSError, subprocess.SubprocessError):
            return None
        return {match[1]: match[2] for match in map(ANSWER.fullmatch, answer.splitlines()) if match}

    def _cancel(self) -> bool:
        try:
            return subprocess.run(["scancel", f"--name={self._name}"], check=False).returncode == 0
        except OSError:
            return False

    def _is_to_be_cancelled(self) -> bool:
        """Ask whoever stopped this, if anybody can be asked."""
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        with progress.hide(), suppress(KeyboardInterrupt, OSError):
            print(f"\nLeave the jobs ({self._name}) to Slurm, or cancel them? [leave/cancel] ", end="", file=sys.stderr,
                  flush=True)
            return sys.stdin.readline().strip().lower() in ("c", "cancel")
        return False

    def _tidy_up(self) -> None:
        """Remove the folder, once nobody writes to it any more and unless somebody may want to look into it."""
        self._forget()
        end = time.monotonic() + TIDY
        while None in (states := {self._state_of(started.job_id) for started in self._started}) \
                and time.monotonic() < end:
            time.sleep(self.look)
        if states <= {DONE, GONE} and not self._any_failed:
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.name == FOLDER:
            with suppress(OSError):  # others are there
                self.folder.parent.rmdir()
