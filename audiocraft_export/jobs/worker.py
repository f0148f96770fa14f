"""The worker: runs jobs one after the other, and reports their progress, log records and results."""

from __future__ import annotations

import logging
import os
import pickle
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from threading import Lock, Thread
from typing import Any, Callable, Optional

from .. import progress
from .message_log import MessageLog

Job = Callable[[], Any]
IndexedJob = tuple[int, Job]  # with its index in the batch
LOCAL_REPORT_INTERVAL, SLURM_REPORT_INTERVAL = 0.2, 2.  # seconds between two reports of a job's progress


@dataclass
class JobResult:
    """The value of a job, or the exception that it has raised."""

    value: Any = None
    error: Optional[Exception] = None

    def get(self) -> Any:
        """Return the value, or raise the exception."""
        if self.error is not None:
            raise self.error
        return self.value


@dataclass
class WorkerTask:
    """Some jobs of a batch, as a task of a Slurm array; returns the result of each by its index.

    Args:
        jobs: what to run, in this order.
        log: gets messages with the index of the job that they are of. Results are among them: a task that is killed
            returns none, whatever it has finished.
    """

    jobs: Sequence[IndexedJob]
    log: MessageLog

    def __call__(self) -> dict[int, JobResult]:
        """Run the jobs."""
        for number in (signal.SIGTERM, signal.SIGCONT):  # submitit's handlers would go on
            signal.signal(number, signal.SIG_DFL)
        return {index: self._run(index, job) for index, job in self.jobs}

    def _run(self, index: int, job: Job) -> JobResult:
        def send(message: Any) -> None:
            try:
                self.log.write((index, message))
            except OSError:  # a full disk is no reason to lose a release
                pass
        result = run_job(job, send, SLURM_REPORT_INTERVAL)
        send(result)
        return result


def run_job(job: Job, send: Callable[[Any], None], report_interval: float) -> JobResult:
    """Run a job; `send` gets its progress, first of all when it begins, and its log records."""
    send(progress.Progress("", 1))
    progress.forward_to(send, report_interval)
    handler = _RecordSender(send)  # type: ignore[arg-type]
    logging.getLogger().addHandler(handler)
    try:
        return JobResult(job())
    except Exception as exc:
        return JobResult(error=_to_picklable(exc))
    finally:
        logging.getLogger().removeHandler(handler)


def main(connection_fd: int, parent_pipe: int) -> None:
    """Run the jobs that a process of this machine sends, until it sends no more or ends.

    Args:
        connection_fd: file descriptor of the connection to it; it gets None when this worker is ready.
        parent_pipe: file descriptor of a pipe that nobody writes to; its end means that the parent has died.
    """
    Thread(target=_exit_with_parent, args=(parent_pipe,), daemon=True).start()
    connection, lock = Connection(connection_fd), Lock()

    def send(message: Any) -> None:
        with lock:  # threads of a job may log at the same time
            connection.send(message)
    send(None)
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        send(run_job(pickle.loads(data), send, LOCAL_REPORT_INTERVAL))


def last_log_line(log: str) -> str:
    """Return the last line of a log with an error, or else its last one; submitit's own lines do not count."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("submitit ")]
    errors = [line for line in lines if "error" in line.lower()]
    return [*lines, *errors][-1] if lines else ""


class _RecordSender(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue(record)  # type: ignore[operator]


def _to_picklable(exc: Exception) -> Exception:
    error: Exception = ExceptionWithTraceback(exc, exc.__traceback__)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # not every exception can be pickled, and not every pickled one be made again
        return RuntimeError(f"{type(exc).__name__}: {exc}")
    return error


def _exit_with_parent(parent_pipe: int) -> None:
    os.read(parent_pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
