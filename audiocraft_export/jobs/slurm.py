"""Jobs as the tasks of a Slurm array, which submitit submits; only CPUs are asked for."""

import math
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Optional

from ..errors import ExportError, reason
from ..progress import Progress
from .batch import IDLE, Message
from .local import WorkerDiedError, import_env, run_in_workers
from .worker import Job, JobResult

FOLDER = "export_jobs"  # in the Dora folder
COMMANDS = ("sbatch", "srun", "squeue", "scancel")
RUNNING, GONE, CANCELLED = "RUNNING", "no longer known to Slurm", "CANCELLED"
FINAL_STATES = {"COMPLETED", GONE, CANCELLED, "BOOT_FAIL", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
                "PREEMPTED", "REVOKED", "TIMEOUT"}
STATE_LINE = re.compile(r"(\d+(?:_\d+)?) ([A-Z_]+)")  # some clusters let squeue say more
POLL_INTERVAL, SQUEUE_INTERVAL, SQUEUE_TIMEOUT = 0.5, 5., 10.  # seconds
GRACE_PERIOD = 10.  # seconds that the results of a task that has ended may take to arrive
INHERITED = {"SLURM_CONF", *(f"SBATCH_{name}" for name in ("ACCOUNT", "CLUSTERS", "CONSTRAINT", "PARTITION", "QOS",
                                                           "RESERVATION"))}


def run_task(jobs: Mapping[int, Job]) -> list[Message]:
    """Run jobs by one worker process of a task; returns what is said of them by their indices, and their results."""
    for number in (signal.SIGTERM, signal.SIGCONT):  # submitit's handlers would go on
        signal.signal(number, signal.SIG_DFL)
    indices, messages = [*jobs], run_in_workers(1, [*jobs.values()])
    return [(indices[position], message) for position, message in messages if message is not None]


@dataclass
class _Task:
    """A task that was submitted, and when it was seen to have ended."""

    jobs: Mapping[int, Job]
    handle: Any  # submitit.SlurmJob
    ended: float = math.inf


class Slurm:
    """A job array of `chunk` jobs a task, which goes on without this process; of which None or so many run at once.

    Raises:
        ExportError: if there is no Slurm, or the folder cannot be one for it.
    """

    def __init__(self, options: Mapping[str, str], folder: Path, chunk: int = 1, at_once: Optional[int] = None) -> None:
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise ExportError(f"There is no Slurm here (no {', '.join(missing)} on $PATH): run this where jobs are "
                              "submitted, or with --jobs instead of --slurm.")
        home = folder.expanduser().absolute()
        if re.search(r"[%\n]", str(home)):
            raise ExportError(f"The folder for the jobs, {home}, has a % or a line break in its name, which Slurm "
                              "takes for something else: name another one with --slurm folder=DIR.")
        self.folder = home / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self.name = f"export-{self.folder.name}"
        self.tasks: list[_Task] = []  # that have not ended
        self._options, self._chunk, self._at_once, self._any_died = options, chunk, at_once, False
        self._states: Optional[Mapping[str, str]] = None

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Run the jobs; results arrive task by task."""
        try:
            self._submit(self.partition(jobs))
        except BaseException:
            self.cancel()  # what sbatch has done is not known if it was interrupted
            self._remove_folder()
            raise
        next_squeue = time.monotonic()
        while self.tasks:
            if time.monotonic() >= next_squeue:
                self._states, next_squeue = _query_states(self.name), time.monotonic() + SQUEUE_INTERVAL
            with suppress(OSError):
                self.folder.chmod(0o700)  # a file server looks again
            for task in [*self.tasks]:
                yield from self._poll(task)
            yield IDLE
            time.sleep(POLL_INTERVAL)
        if not self._any_died:  # else somebody may want to look into it
            self._remove_folder()

    def partition(self, jobs: Sequence[Job]) -> list[dict[int, Job]]:
        """Split jobs into those of each task; those that come first in all of them are done first."""
        count = math.ceil(len(jobs) / self._chunk)
        return [dict([*enumerate(jobs)][first::count]) for first in range(count)]

    def cancel(self) -> bool:
        """Cancel all tasks; false where Slurm does not."""
        return subprocess.call(["scancel", f"--name={self.name}"]) == 0

    def _submit(self, parts: Sequence[Mapping[int, Job]]) -> None:
        from submitit import SlurmExecutor
        from submitit.helpers import environment_variables
        try:
            self.folder.mkdir(0o700, parents=True, exist_ok=bool(self.tasks))  # what is in there is unpickled
            executor = SlurmExecutor(self.folder)
            executor.update_parameters(job_name=self.name, ntasks_per_node=1, additional_parameters={**self._options},
                                       array_parallelism=self._at_once or len(parts))
            with environment_variables(**import_env()), clean_env(self._options), redirect_stderr(StringIO()):
                handles = executor.submit_array([partial(run_task, part) for part in parts])
        except OSError as exc:
            raise ExportError(f"The files of the tasks, in {self.folder}, cannot be written ({reason(exc)}): make room "
                              "there, or take another folder, by $TMPDIR for --jobs, or --slurm folder=DIR.") from exc
        except RuntimeError as exc:
            why = "; ".join(str(exc).replace("sbatch: error: ", "").splitlines())
            raise ExportError(f"Slurm does not take the jobs ({why}): change what stands behind --slurm, or, if these "
                              "are too many, give each of them more experiments with --chunk.") from exc
        self.tasks += map(_Task, parts, handles)

    def _poll(self, task: _Task) -> Iterator[Message]:
        """The messages of a task once it has ended; before, that it runs."""
        messages, state = None, None if self._states is None else self._states.get(task.handle.job_id, GONE)
        with suppress(Exception):  # whatever a broken file of results makes of it
            messages = task.handle.result() if task.handle.paths.result_pickle.exists() else None
        if state is not None:  # a new task is GONE until squeue is asked again, which is less than the GRACE_PERIOD
            task.ended = min(task.ended, time.monotonic()) if state in FINAL_STATES else math.inf
            if messages is None and time.monotonic() >= task.ended + GRACE_PERIOD:
                messages = self._retry(task, state)
        if messages is not None:
            self.tasks.remove(task)
            for index, message in messages:
                if isinstance(message, JobResult) and isinstance(message.error, WorkerDiedError):
                    self._any_died = True
                    message.error.args = f"log {task.handle.paths.stderr}", *message.error.args
                yield index, message
        elif state == RUNNING:
            yield next(iter(task.jobs)), Progress("", 1)

    def _retry(self, task: _Task, state: str) -> list[Message]:
        """Run each job of a dead task by a task of its own; fail one that was alone, or that somebody has cancelled."""
        self._any_died = True
        if len(task.jobs) > 1 and state != CANCELLED:
            with suppress(ExportError):
                self._submit([{index: job} for index, job in task.jobs.items()])
                return []
        lines = [""]
        with suppress(OSError):
            lines += task.handle.paths.stderr.read_text("utf-8", "replace").strip().splitlines()
        last_error = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])
        return [(index, JobResult(error=WorkerDiedError(last_error.strip(), state))) for index in task.jobs]

    def _remove_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.name == FOLDER:
            with suppress(OSError):  # others are there
                self.folder.parent.rmdir()


@contextmanager
def clean_env(options: Container[str] = ()) -> Iterator[None]:
    """While inside, no variable overrules the options of sbatch and squeue, and a job hands none of its own on."""
    kept = {name for name in INHERITED if name[len("SBATCH_"):].lower() not in options}
    of_this_job = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_") if "SLURM_JOB_ID" in os.environ else ()
    hidden = {name: os.environ.pop(name) for name in [*os.environ]
              if name.startswith(("SBATCH_", "SQUEUE_", *of_this_job)) and name not in kept}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _query_states(name: str) -> Optional[Mapping[str, str]]:
    """The state of each task by its id; None where squeue does not answer. Not all clusters have accounting (sacct)."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--name={name}", "--format=%i %T"]
    try:
        with clean_env():
            answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True,
                                    timeout=SQUEUE_TIMEOUT, errors="replace").stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {match[1]: match[2] for match in map(STATE_LINE.fullmatch, answer.splitlines()) if match}
