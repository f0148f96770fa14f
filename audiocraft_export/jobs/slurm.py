"""Jobs as the tasks of a Slurm array, which submitit submits; only CPUs are asked for."""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from .. import progress
from ..errors import ExportError, reason
from .batch import IDLE, Message
from .local import Local, WorkerDiedError, death_result, import_env, last_log_line
from .message_log import MessageLog
from .sbatch import clean_sbatch_env, sbatch_options
from .worker import Job, JobResult

if TYPE_CHECKING:
    import submitit

FOLDER = "export_jobs"  # in the Dora folder
COMMANDS = ("sbatch", "srun", "squeue", "scancel")
COMPLETED, GONE, CANCELLED = "COMPLETED", "no longer known to Slurm", "CANCELLED"
FINAL_STATES = {COMPLETED, GONE, CANCELLED, "BOOT_FAIL", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
                "PREEMPTED", "REVOKED", "TIMEOUT"}
STATE_LINE = re.compile(r"(\d+(?:_\d+)?) ([A-Z_]+)")  # some clusters let squeue say more
REPORT_INTERVAL, POLL_INTERVAL = 2., 0.5  # seconds between two reports of a job's progress, and two looks at the logs
MAX_READS = 200  # of logs in a second: they may be on a file server
MIN_SQUEUE_INTERVAL, MAX_SQUEUE_INTERVAL, SQUEUE_TIMEOUT = 2., 30., 10.  # seconds
GRACE_PERIOD, COMPLETED_GRACE_PERIOD = 5., 60.  # seconds that the last messages of a task may take to arrive
KILL_PERIOD = 1.  # seconds in which Slurm kills all processes of a task


@dataclass
class SlurmTask:
    """Jobs by their indices, run by one worker process of a task; returns their results.

    Results are among the messages in `log`, too: a task that is killed returns none, whatever it has finished.
    """

    jobs: Mapping[int, Job]
    log: MessageLog

    def __call__(self) -> dict[int, JobResult]:
        """Run the jobs."""
        from submitit import JobEnvironment
        for number in (signal.SIGTERM, signal.SIGCONT):  # submitit's handlers would go on
            signal.signal(number, signal.SIG_DFL)
        indices, results = [*self.jobs], {}
        local = Local(1, JobEnvironment().paths.stderr, REPORT_INTERVAL)
        for position, message in local.run([*self.jobs.values()]):
            if isinstance(message, JobResult):
                results[indices[position]] = message
                if isinstance(message.error, WorkerDiedError):
                    time.sleep(KILL_PERIOD)  # where this process is killed as well, Slurm may run the job once more
            if message is not None:
                with suppress(OSError):  # a full disk is no reason to lose a release
                    self.log.write((indices[position], message))
        return results


@dataclass
class _Task:
    """A task that was submitted, and what is known of it."""

    pending: dict[int, Job]
    log: MessageLog
    handle: submitit.Job[dict[int, JobResult]]
    is_retry: bool  # whether another task has died
    current: Optional[int] = None  # index of the last job that it has said something of
    ended: float = math.inf  # when that was seen


class Slurm:
    """A job array of Slurm, which can go on without this process.

    Args:
        settings: as they stand behind `--slurm`, for `sbatch_options`.
        folder: parent of the folder for the tasks, unless the settings have one; all nodes see it.
        chunk: number of jobs of one task.
        at_once: maximum number of tasks that run at once; None is all of them.

    Raises:
        OptionError: if one of the settings is invalid.
        ExportError: if there is no Slurm, or the folder cannot be one for it.
    """

    def __init__(self, settings: Sequence[str], folder: Path, chunk: int = 1, at_once: Optional[int] = None) -> None:
        self._sbatch = sbatch_options(settings)
        home = Path(self._sbatch.pop("folder", folder)).expanduser().absolute()
        if re.search(r"[%\n]", str(home)):
            raise ExportError(f"The folder for the jobs, {home}, has a % or a line break in its name, which Slurm "
                              "takes for something else: name another one with --slurm folder=DIR.")
        self.folder = home / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self._name = f"export-{self.folder.name}"
        self._chunk, self._at_once = chunk, at_once
        self._running: list[_Task] = []
        self._submitted, self._any_died = 0, False
        self._states: Optional[Mapping[str, str]] = None
        self._start = self._next_squeue = time.monotonic()
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise ExportError(f"There is no Slurm here (no {', '.join(missing)} on $PATH): run this where jobs are "
                              "submitted, or with --jobs instead of --slurm.")

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Run the jobs; a user who interrupts that is asked whether to leave them to Slurm or to cancel them."""
        self._make_folder()
        try:
            self._submit(self.partition(jobs))
            while self._running:
                for task in [*self._running]:
                    yield from self._poll(task)
                yield IDLE
                time.sleep(max(POLL_INTERVAL, len(self._running) / MAX_READS))
        except BaseException as exc:
            self._stop(exc)
            raise
        if not self._any_died:  # else somebody may want to look into it
            self._remove_folder()

    def partition(self, jobs: Sequence[Job]) -> list[dict[int, Job]]:
        """Split jobs into those of each task; those that come first in all of them are done first."""
        count = math.ceil(len(jobs) / self._chunk)
        return [dict([*enumerate(jobs)][first::count]) for first in range(count)]

    def _make_folder(self) -> None:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(0o700)  # what is in there is unpickled
        except OSError as exc:
            raise ExportError(f"The folder for the jobs, {self.folder}, cannot be made ({reason(exc)}): name another "
                              "one, which all nodes see, with --slurm folder=DIR.") from exc

    def _submit(self, parts: Sequence[dict[int, Job]]) -> None:
        from submitit import SlurmExecutor
        from submitit.helpers import environment_variables
        executor = SlurmExecutor(self.folder)
        executor.update_parameters(job_name=self._name, ntasks_per_node=1, additional_parameters=dict(self._sbatch),
                                   array_parallelism=self._at_once or len(parts))
        logs = [MessageLog(self.folder / f"{self._submitted + number}.log") for number in range(len(parts))]
        try:
            for log in logs:
                log.path.touch()  # a file server may remember for a while that a file was not there
            with environment_variables(**import_env()), clean_sbatch_env(self._sbatch), redirect_stderr(StringIO()):
                handles = executor.submit_array([*map(SlurmTask, parts, logs)])  # it prints what sbatch says
        except OSError as exc:
            raise ExportError(f"The files of the tasks, in {self.folder}, cannot be written ({reason(exc)}): make room "
                              "there, or take another folder, by $TMPDIR for --jobs, or --slurm folder=DIR.") from exc
        except RuntimeError as exc:
            why = "; ".join(str(exc).replace("sbatch: error: ", "").splitlines())
            raise ExportError(f"Slurm does not take the jobs ({why}): change what stands behind --slurm, or, if these "
                              "are too many, give each of them more experiments with --chunk.") from exc
        is_retry = self._submitted > 0
        self._running += [_Task(part, log, handle, is_retry) for part, log, handle in zip(parts, logs, handles)]
        self._submitted += len(parts)
        self._states = None

    def _poll(self, task: _Task) -> Iterator[Message]:
        results = _results_of(task.handle)
        is_over = results is not None or self._has_ended(task)
        for index, message in [*task.log.read(last=is_over), *(results or {}).items()]:
            if index in task.pending:  # a task that Slurm has begun again repeats itself
                task.current = index
                if isinstance(message, JobResult):
                    del task.pending[index]
                    self._any_died |= isinstance(message.error, WorkerDiedError)
                yield index, message
        if is_over:
            self._running.remove(task)
            yield from self._fail_pending(task)

    def _fail_pending(self, task: _Task) -> Iterator[Message]:
        """Fail the job that a dead task was running; the rest, too, unless another task can do it."""
        if not task.pending:
            return
        self._any_died = True
        state, text, log = self._state_of(task) or "", b"", task.handle.paths.stderr
        with suppress(OSError):
            text = log.read_bytes()
        lost, rest = {*task.pending}, {index: job for index, job in task.pending.items() if index != task.current}
        has_begun = task.current is not None
        if state != CANCELLED and (rest if has_begun else len(rest) > 1 and not task.is_retry):
            with suppress(ExportError):
                self._submit([rest])
                lost -= {*rest}
        yield from ((index, death_result(f"log {log}", last_log_line(text), state)) for index in lost)

    def _has_ended(self, task: _Task) -> bool:
        """Whether a task has ended so long ago that no message can be on its way."""
        state, now = self._state_of(task), time.monotonic()
        task.ended = min(task.ended, now) if state else math.inf
        grace_period = COMPLETED_GRACE_PERIOD if state == COMPLETED else GRACE_PERIOD
        return now >= task.ended + (grace_period if task.pending else 0)

    def _state_of(self, task: _Task) -> Optional[str]:
        """Return the final state of a task; None if it has not ended, or nobody knows."""
        if time.monotonic() >= self._next_squeue:
            self._states = _query_states(self._name)
            age = time.monotonic() - self._start
            self._next_squeue = time.monotonic() + min(MAX_SQUEUE_INTERVAL, max(MIN_SQUEUE_INTERVAL, age / 10))
        state = None if self._states is None else self._states.get(task.handle.job_id, GONE)
        return state if state in FINAL_STATES else None

    def _stop(self, exc: BaseException) -> None:
        if not self._submitted:
            self._cancel()  # what sbatch has done is not known if it was interrupted
            self._remove_folder()
            return
        text = (f"The jobs go on: see them with squeue --name={self._name}, cancel them with scancel "
                f"--name={self._name}; when they are over, run this again to see what is left to do.")
        if _is_interrupt(exc) and self._ask_to_cancel():
            text = ("The jobs are cancelled; what they have done is done." if self._cancel() else
                    f"Slurm does not cancel the jobs: do it later, with scancel --name={self._name}.")
        with suppress(OSError):  # what was done is not undone because nobody can be told
            print(text, file=sys.stderr)

    def _ask_to_cancel(self) -> bool:
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        with progress.hide(), suppress(KeyboardInterrupt, OSError):
            print(f"\nLeave the jobs ({self._name}) to Slurm, or cancel them? [leave/cancel] ", end="", file=sys.stderr,
                  flush=True)
            return sys.stdin.readline().strip().lower() in ("c", "cancel")
        return False

    def _cancel(self) -> bool:
        with suppress(OSError):
            return subprocess.call(["scancel", f"--name={self._name}"]) == 0
        return False

    def _remove_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.name == FOLDER:
            with suppress(OSError):  # others are there
                self.folder.parent.rmdir()


def _results_of(handle: submitit.Job[dict[int, JobResult]]) -> Optional[dict[int, JobResult]]:
    """What a task has returned; None if it has not, or if it has failed."""
    try:
        return handle.result() if handle.paths.result_pickle.exists() else None
    except Exception:
        return None


def _query_states(name: str) -> Optional[Mapping[str, str]]:
    """The state of each task by its id; None where squeue does not answer. Not all clusters have accounting (sacct)."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--name={name}", "--format=%i %T"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SQUEUE_TIMEOUT,
                                check=True, env=env, text=True, errors="replace").stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {match[1]: match[2] for match in map(STATE_LINE.fullmatch, answer.splitlines()) if match}


def _is_interrupt(exc: Optional[BaseException]) -> bool:
    return exc is not None and (isinstance(exc, KeyboardInterrupt) or _is_interrupt(exc.__context__))
