"""Jobs in worker processes of this machine: each belongs to a thread, which starts another one when it dies."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import DEVNULL, Popen
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Any, Callable, NamedTuple, Optional

from ..errors import ExportError, reason
from .batch import IDLE, Message
from .worker import Job, JobResult

POLL_INTERVAL = 0.1  # seconds between two looks at the display where no worker says anything
REPORT_INTERVAL = 0.2  # seconds between two reports of a job's progress
WORKER = "from audiocraft_export.jobs.worker import main; main({}, {}, {})"


class WorkerDiedError(ExportError):
    """A process has ended before the job that it ran."""


class Local:
    """Worker processes of this machine, which end with this one.

    Args:
        count: how many, at most.
        log: the file for what they say on stderr; None are temporary ones.
        report_interval: seconds between two reports of a job's progress.
    """

    def __init__(self, count: int, log: Optional[Path] = None, report_interval: float = REPORT_INTERVAL) -> None:
        self._count, self.log, self.report_interval = count, log, report_interval

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Run the jobs: whichever worker is free takes the next one."""
        claims, inbox, left = deque(enumerate(jobs)), SimpleQueue[Message](), len(jobs)
        open_log: Callable[..., IO[Any]] = partial(open, self.log, "ab+") if self.log else TemporaryFile
        with ExitStack() as stack:
            try:
                logs = [stack.enter_context(open_log(buffering=0)) for _ in jobs[:self._count]]
            except OSError as exc:
                raise ExportError(f"No folder for the processes of --jobs can be made ({reason(exc)}): let $TMPDIR be "
                                  "one that can be written to.") from exc
            parent_pipe, held_end = os.pipe()
            stack.callback(os.close, parent_pipe)
            threads = stack.enter_context(ThreadPoolExecutor(self._count))
            stack.callback(os.close, held_end)  # which ends all workers
            stack.callback(claims.clear)
            running = _Running(set(), Lock())
            for log in logs:
                threads.submit(_Worker(self, parent_pipe, log, running).run, claims, inbox)
            while left:
                message = IDLE
                with suppress(Empty):
                    message = inbox.get(timeout=POLL_INTERVAL)
                left -= isinstance(message[1], JobResult)
                yield message


class _Running(NamedTuple):
    """The workers that have a process, and the lock under which one is started."""

    workers: set[_Worker]
    start: Lock


class _Worker:
    """A worker process, another one after its death; of one thread.

    Args:
        local: how it is run.
        parent_pipe: a pipe that ends with this process.
        log: the file for what it says on stderr.
        running: all workers that have a process.
    """

    def __init__(self, local: Local, parent_pipe: int, log: IO[Any], running: _Running) -> None:
        self._local, self._parent_pipe, self._log, self._running = local, parent_pipe, log, running
        self._process: Optional[Popen[bytes]] = None

    def run(self, claims: deque[tuple[int, Job]], inbox: SimpleQueue[Message]) -> None:
        """Run one job after the other, as long as there is one that nobody has taken."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # its process, too: Ctrl-C is for this one
        while claims:
            with suppress(IndexError):  # another thread was faster
                index, job = claims.popleft()
                try:
                    inbox.put((index, self._run_job(index, job, inbox)))
                except OSError as exc:  # no process can be started
                    if not self._running.workers:
                        inbox.put((index, JobResult(error=ExportError(
                            f"Its process cannot be started ({reason(exc)}): use fewer --jobs."))))
                        continue
                    claims.append((index, job))  # for a worker that runs, or a later try
                    time.sleep(POLL_INTERVAL)
        self._end()

    def _run_job(self, index: int, job: Job, inbox: SimpleQueue[Message]) -> JobResult:
        if self._process is None:
            self._start()
        try:
            self._connection.send(job)
            while not isinstance(message := self._connection.recv(), JobResult):
                inbox.put((index, message))
            return message
        except (EOFError, ConnectionError):
            return death_result(f"log {self._local.log}" if self._local.log else "", self._end() or "killed")
        except Exception as exc:  # the job cannot be sent
            self._end()
            return JobResult(error=exc)

    def _start(self) -> None:
        self._launch()
        with suppress(EOFError, ConnectionError):
            self._connection.recv()
            return
        self._end()  # killed before it was ready: another one may fare better, and else fails at its first job
        self._launch()

    def _launch(self) -> None:
        self._log_start = self._log.seek(0, os.SEEK_END)
        self._connection, theirs = Pipe()
        with self._running.start, theirs, ExitStack() as unless_started:
            unless_started.callback(self._connection.close)
            fds = theirs.fileno(), self._parent_pipe
            self._process = Popen([sys.executable, "-c", WORKER.format(*fds, self._local.report_interval)],
                                  pass_fds=fds, stdin=DEVNULL, stdout=DEVNULL, stderr=self._log,
                                  env={**os.environ, **import_env(), "CUDA_VISIBLE_DEVICES": ""})
            unless_started.pop_all()
            self._running.workers.add(self)

    def _end(self) -> str:
        """Let the process end, if there is one; returns the last line of its log."""
        if self._process is None:
            return ""
        self._connection.close()
        self._process.wait()
        self._process = None
        self._running.workers.discard(self)
        self._log.seek(self._log_start)
        return last_log_line(self._log.read())


def death_result(*details: str) -> JobResult:
    """Make the result of a job whose process has died, from what is known of that."""
    return JobResult(error=WorkerDiedError(
        "Its process has ended: export it again, with more memory or time if it had too little "
        f"({', '.join(filter(None, details))})."))


def last_log_line(log: bytes) -> str:
    """Return the last line of a log with an error, or else its last one; submitit's own lines do not count."""
    lines = [line.strip() for line in log.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("submitit ")]
    errors = [line for line in lines if "error" in line.lower()]
    return [*lines, *errors][-1] if lines else ""


def import_env() -> dict[str, str]:
    """Environment variables that let a worker find modules where this process does, and not in the current folder."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}  # the latter has no meaning before Python 3.11
