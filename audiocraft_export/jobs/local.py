"""Run jobs in worker processes on this machine; each is managed by a thread, which replaces a process that dies."""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from subprocess import PIPE, Popen
from threading import Lock
from typing import Any, Optional

from ..errors import ExportError, reason
from .batch import IDLE, Message
from .worker import READY, Job, JobResult, read_message, write_message

POLL_INTERVAL = 0.1  # seconds between two `IDLE` messages while no worker sends anything
WORKER = "import sys; sys.path[:] = filter(None, sys.path); from audiocraft_export.jobs.worker import main; main()"
_KILLED = -9  # exit code of a process that was killed by SIGKILL
_NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows: only the parent handles Ctrl-C


class WorkerDiedError(ExportError):
    """The worker process of a job has died."""


def worker_died(*details: str) -> WorkerDiedError:
    """Return the error of a job whose process has died; `details` are the last error in its log, its exit code, etc."""
    return WorkerDiedError("worker-died", f"The worker process died ({', '.join(filter(None, details))})",
                           "retry, with more memory or time if needed")


def run_in_workers(count: int, jobs: Sequence[Job]) -> Generator[Message, None, None]:
    """Run jobs in `count` worker processes; a free worker takes the next job, and all workers end with this process.

    Yields:
        The messages of the jobs, the last message of each being a `JobResult`, and `IDLE` while waiting.
    """
    claims, inbox = deque(enumerate(jobs)), SimpleQueue[Message]()
    workers = [_Worker() for _ in jobs[:count]]
    with ThreadPoolExecutor(count) as threads:
        try:
            running = [threads.submit(worker.run, claims, inbox) for worker in workers]
            while not all(thread.done() for thread in running) or not inbox.empty():
                message = IDLE
                with suppress(Empty):
                    message = inbox.get(timeout=POLL_INTERVAL)
                yield message
        finally:
            unclaimed = [*claims]
            claims.clear()
            for worker in workers:
                worker.stop()
    for index, _ in unclaimed:
        exc = next(filter(None, (thread.exception() for thread in running)))
        yield index, JobResult(error=ExportError("worker-start-failed", f"Cannot start a worker process: {reason(exc)}",
                                                 "use fewer --jobs"))


class _Worker:
    """A worker process, which is restarted if it dies; used by one thread, and stopped by another one."""

    def __init__(self) -> None:
        self._process: Optional[Popen[bytes]] = None
        self._stdin: Any = None  # IO[bytes] while there is a process
        self._stdout: Any = None
        self._is_stopped = False
        self._stop_lock = Lock()

    def run(self, claims: deque[tuple[int, Job]], inbox: SimpleQueue[Message]) -> None:
        """Run unclaimed jobs until all are claimed.

        Raises:
            OSError: if no process can be started.
        """
        if sys.platform != "win32" and hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited: only the parent handles Ctrl-C
        with suppress(IndexError):  # all jobs are claimed
            while True:
                index, job = claims.popleft()
                try:
                    inbox.put((index, self._run_job(index, job, inbox)))
                except OSError:
                    claims.append((index, job))  # another worker may run it
                    raise
        self._end()

    def stop(self) -> None:
        """End the process and its job, and start no further process."""
        with self._stop_lock:
            self._is_stopped = True
            self._close_stdin()

    def _run_job(self, index: int, job: Job, inbox: SimpleQueue[Message]) -> JobResult:
        """Run a job in the process, put its messages into the inbox, and return its result."""
        if self._process is None and not self._start():
            self._end()  # It was killed before it was ready: try once more. If this fails, so does the job.
            self._start()
        try:
            write_message(self._stdin, job)
            while not isinstance(message := pickle.loads(read_message(self._stdout)), JobResult):
                inbox.put((index, message))
            return message
        except Exception as exc:  # the process has died, or the job or its result cannot be pickled
            died = worker_died(self._end())
            return JobResult(error=died if isinstance(exc, (EOFError, ConnectionError)) else exc)

    def _start(self) -> bool:
        """Start the process; return False if it has died before it was ready."""
        with self._stop_lock:
            if self._is_stopped:
                raise EOFError
            self._process = Popen([sys.executable, "-c", WORKER], stdin=PIPE, stdout=PIPE, creationflags=_NEW_GROUP,
                                  env={**os.environ, **import_env()})
            self._stdin, self._stdout = self._process.stdin, self._process.stdout
        return any(line == READY for line in self._stdout)

    def _end(self) -> str:
        """Wait until the process has ended; return its exit code as a string, empty if no process was started."""
        if self._process is None:
            return ""
        self._close_stdin()
        self._stdout.close()
        code, self._process = self._process.wait(), None
        return "killed" if code == _KILLED else f"exit code {code}"

    def _close_stdin(self) -> None:
        if self._process is not None:
            with suppress(OSError):  # the process has died before it has read everything
                self._stdin.close()


def import_env() -> dict[str, str]:
    """Return environment variables with which a worker imports the same modules, but none from the current folder."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": ""}  # PYTHONSAFEPATH: Python 3.11
