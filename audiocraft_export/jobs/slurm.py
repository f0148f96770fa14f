"""Run jobs as the tasks of a Slurm job array, submitted with submitit; only CPUs are requested."""

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
from ..signals import available
from .batch import IDLE, Message
from .local import WorkerDiedError, import_env, run_in_workers, worker_died
from .worker import Job, JobResult

FOLDER = "export_jobs"  # default folder for job files, in the Dora folder
COMMANDS = ("sbatch", "srun", "squeue", "scancel")
RUNNING, GONE, CANCELLED = "RUNNING", "no longer known to Slurm", "CANCELLED"
FINAL_STATES = {"COMPLETED", GONE, CANCELLED, "BOOT_FAIL", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
                "PREEMPTED", "REVOKED", "TIMEOUT"}
STATE_LINE = re.compile(r"(\d+(?:_\d+)?) ([A-Z_]+)")  # some clusters print additional lines
POLL_INTERVAL, SQUEUE_INTERVAL, SQUEUE_TIMEOUT = 0.5, 5., 10.  # all in seconds
GRACE_PERIOD = 10.  # seconds until the results of a finished task are visible on a shared disk
INHERITED = {"SLURM_CONF", *(f"SBATCH_{name}" for name in ("ACCOUNT", "CLUSTERS", "CONSTRAINT", "PARTITION", "QOS",
                                                           "RESERVATION"))}


def run_task(jobs: Mapping[int, Job]) -> list[Message]:
    """Run the jobs of a task in a worker process, and return their messages, each with the index of its job."""
    for number in available("SIGTERM", "SIGCONT"):  # the handlers of submitit would not end the task
        signal.signal(number, signal.SIG_DFL)
    indices, messages = [*jobs], run_in_workers(1, [*jobs.values()])
    return [(indices[position], message) for position, message in messages if message is not None]


@dataclass
class _Task:
    """A submitted task, and the time at which it was found to have ended."""

    jobs: Mapping[int, Job]
    handle: Any  # submitit.SlurmJob
    ended: float = math.inf


class Slurm:
    """A Slurm job array, which keeps running if this process ends.

    Args:
        options: options of sbatch, without the dashes.
        folder: the folder for scripts, logs and results.
        chunk: number of jobs per task.
        at_once: maximum number of tasks that run at the same time; None for no limit.

    Raises:
        ExportError: if Slurm is not available, or cannot use the folder.
    """

    def __init__(self, options: Mapping[str, str], folder: Path, chunk: int = 1, at_once: Optional[int] = None) -> None:
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise ExportError("slurm-not-found", f"Slurm is not available: {', '.join(missing)} not found on $PATH",
                              "run this on a login node, or use --jobs instead of --slurm")
        home = folder.expanduser().absolute()
        if re.search(r"[%\n]", str(home)):
            raise ExportError("invalid-job-folder", f"Slurm cannot use job folder {home}: its path contains a % or a "
                              "line break", "choose another folder with --slurm folder=DIR")
        self.folder = home / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self.name = f"export-{self.folder.name}"
        self.tasks: list[_Task] = []  # tasks that have not ended yet
        self._options, self._chunk, self._at_once, self._any_died = options, chunk, at_once, False
        self._states: Optional[Mapping[str, str]] = None

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Run the jobs; yield the messages of a task once all its jobs are done.

        Raises:
            ExportError: if the jobs cannot be submitted.
        """
        try:
            self._submit(self.partition(jobs))
        except BaseException:
            self.cancel(quiet=True)  # an interrupted sbatch may have submitted some tasks
            self._remove_folder()
            raise
        next_squeue = time.monotonic()
        while self.tasks:
            if time.monotonic() >= next_squeue:
                self._states, next_squeue = _query_states(self.name), time.monotonic() + SQUEUE_INTERVAL
            with suppress(OSError):
                self.folder.chmod(0o700)  # makes NFS refresh its cache of the folder
            for task in [*self.tasks]:
                yield from self._poll(task)
            yield IDLE
            time.sleep(POLL_INTERVAL)
        if not self._any_died:  # otherwise the logs are kept
            self._remove_folder()

    def partition(self, jobs: Sequence[Job]) -> list[dict[int, Job]]:
        """Distribute jobs over tasks in turn, so that the first jobs of all tasks are the first jobs overall."""
        count = math.ceil(len(jobs) / self._chunk)
        return [dict([*enumerate(jobs)][first::count]) for first in range(count)]

    def cancel(self, quiet: bool = False) -> bool:
        """Cancel all tasks; return whether Slurm accepted that. With `quiet`, scancel prints no errors."""
        return subprocess.call(["scancel", f"--name={self.name}"], stderr=subprocess.DEVNULL if quiet else None) == 0

    def _submit(self, parts: Sequence[Mapping[int, Job]]) -> None:
        """Submit a job array with one task per part."""
        from submitit import SlurmExecutor
        from submitit.helpers import environment_variables
        try:
            self.folder.mkdir(0o700, parents=True, exist_ok=bool(self.tasks))  # files in it are unpickled
            executor = SlurmExecutor(self.folder)
            executor.update_parameters(job_name=self.name, ntasks_per_node=1, additional_parameters={**self._options},
                                       array_parallelism=self._at_once or len(parts))
            with environment_variables(**import_env()), clean_env(self._options), redirect_stderr(StringIO()):
                handles = executor.submit_array([partial(run_task, part) for part in parts])
        except OSError as exc:
            raise ExportError("invalid-job-folder", f"Cannot write the job files to {self.folder}: {reason(exc)}",
                              "choose another folder with --slurm folder=DIR") from exc
        except RuntimeError as exc:
            why = "; ".join(str(exc).replace("sbatch: error: ", "").splitlines())
            raise ExportError("slurm-rejected", f"sbatch rejected the jobs: {why}",
                              "check the cluster with sinfo, change the options of --slurm, or submit fewer jobs "
                              "with a larger --chunk") from exc
        self.tasks += map(_Task, parts, handles)

    def _poll(self, task: _Task) -> Iterator[Message]:
        """Yield the messages of a task if it has ended, or a message that shows it as running."""
        messages, state = None, None if self._states is None else self._states.get(task.handle.job_id, GONE)
        with suppress(Exception):  # reading a corrupted result file may raise any exception
            messages = task.handle.result() if task.handle.paths.result_pickle.exists() else None
        if state is not None:  # a new task is GONE until the next squeue, which is within GRACE_PERIOD
            task.ended = min(task.ended, time.monotonic()) if state in FINAL_STATES else math.inf
            if messages is None and time.monotonic() >= task.ended + GRACE_PERIOD:
                messages = self._retry(task, state)
        if messages is not None:
            self.tasks.remove(task)
            for index, message in messages:
                if isinstance(message, JobResult) and isinstance(message.error, WorkerDiedError):
                    self._any_died = True
                    message = JobResult(error=_with_log(message.error, task.handle.paths.stderr))
                yield index, message
        elif state == RUNNING:
            yield next(iter(task.jobs)), Progress("", 1)

    def _retry(self, task: _Task, state: str) -> list[Message]:
        """Submit each job of a dead task as a separate task; fail it if it was alone, or the task was cancelled."""
        self._any_died = True
        if len(task.jobs) > 1 and state != CANCELLED:
            with suppress(ExportError):
                self._submit([{index: job} for index, job in task.jobs.items()])
                return []
        lines = [""]
        with suppress(OSError):
            lines += task.handle.paths.stderr.read_text("utf-8", "replace").strip().splitlines()
        last_error = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])
        return [(index, JobResult(error=worker_died(last_error.strip(), state))) for index in task.jobs]

    def _remove_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.name == FOLDER:
            with suppress(OSError):  # the folder is not empty
                self.folder.parent.rmdir()


@contextmanager
def clean_env(options: Container[str] = ()) -> Iterator[None]:
    """Hide the environment variables that override options of sbatch and squeue, or belong to the current job.

    Args:
        options: options of sbatch for which even the inherited variables (`INHERITED`) are hidden.
    """
    kept = {name for name in INHERITED if name[len("SBATCH_"):].lower() not in options}
    of_this_job = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_") if "SLURM_JOB_ID" in os.environ else ()
    hidden = {name: os.environ.pop(name) for name in [*os.environ]
              if name.startswith(("SBATCH_", "SQUEUE_", *of_this_job)) and name not in kept}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _with_log(error: WorkerDiedError, log: Path) -> WorkerDiedError:
    """Add the path of a log to an error."""
    return WorkerDiedError("worker-died", f"{error.message}; log: {log}", error.hint)


def _query_states(name: str) -> Optional[Mapping[str, str]]:
    """Return the state of each task by its ID, or None if squeue fails; sacct is not available on all clusters."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--name={name}", "--format=%i %T"]
    try:
        with clean_env():
            answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True,
                                    timeout=SQUEUE_TIMEOUT, errors="replace").stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {match[1]: match[2] for match in map(STATE_LINE.fullmatch, answer.splitlines()) if match}
