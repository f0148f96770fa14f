"""The worker: a process that runs jobs one after the other, and sends their progress, log records and results."""

import logging
import os
import pickle
import signal
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Callable, Optional

from .. import progress

REPORT_INTERVAL = 0.2  # seconds between two reports of a job's progress
Job = Callable[[], Any]


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


def main(connection_fd: int, parent_pipe: int) -> None:
    """Run the jobs that come by a connection, until that ends, or the pipe of the parent does (file descriptors)."""
    Thread(target=_exit_with_parent, args=(parent_pipe,), daemon=True).start()
    connection, lock = Connection(connection_fd), Lock()

    def send(message: Any) -> None:
        with lock:  # threads of a job may log at the same time
            connection.send(message)
    progress.forward_to(send, REPORT_INTERVAL)
    handler = QueueHandler(SimpleQueue())
    handler.enqueue = send  # type: ignore[assignment, method-assign]
    logging.getLogger().addHandler(handler)
    with suppress(EOFError, ConnectionError):  # the parent has no more jobs, or is no more
        send(None)  # ready
        while True:
            send(run_job(connection.recv_bytes(), send))


def run_job(pickled: bytes, send: Callable[[Any], None]) -> JobResult:
    """Run a pickled job; `send` hears of its begin."""
    send(progress.Progress("", 1))
    try:
        return JobResult(pickle.loads(pickled)())
    except Exception as exc:
        return JobResult(error=_to_picklable(exc))


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
