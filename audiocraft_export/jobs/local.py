"""Jobs in worker processes of this machine: each belongs to a thread, which starts another one when it dies."""

import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from queue import Empty, SimpleQueue
from subprocess import DEVNULL, Popen
from threading import Lock
from typing import Optional

from ..errors import ExportError, printable, reason
from .batch import IDLE, Message
from .worker import Job, JobResult

POLL_INTERVAL = 0.1  # seconds between two looks at the display where no worker says anything
WORKER = "from audiocraft_export.jobs.worker import main; main({}, {})"
_start_lock = Lock()  # a process that another thread starts meanwhile would inherit the other end of the connection


class WorkerDiedError(ExportError):
    """A process has ended before the job that it ran; the arguments are what is known of that."""

    def __str__(self) -> str:
        return printable("Its process has ended: export it again, with more memory or time if it had too little "
                         f"({', '.join(filter(None, self.args))}).")


def run_in_workers(count: int, jobs: Sequence[Job]) -> Generator[Message, None, None]:
    """Run jobs in so many processes, which end with this one; whichever is free takes the next job."""
    claims, inbox = deque(enumerate(jobs)), SimpleQueue[Message]()
    ours, theirs = Pipe(duplex=False)
    with ours, ThreadPoolExecutor(count) as threads, theirs:  # closing theirs ends all workers
        try:
            running = [threads.submit(_Worker(ours.fileno()).run, claims, inbox) for _ in jobs[:count]]
            while not all(thread.done() for thread in running) or not inbox.empty():
                message = IDLE
                with suppress(Empty):
                    message = inbox.get(timeout=POLL_INTERVAL)
                yield message
        finally:
            unclaimed = [*claims]
            claims.clear()
    for index, _ in unclaimed:
        exc = next(filter(None, (thread.exception() for thread in running)))
        yield index, JobResult(error=ExportError(f"Its process cannot be started ({reason(exc)}): use fewer --jobs."))


class _Worker:
    """A worker process, another one after its death; of one thread."""

    def __init__(self, parent_pipe: int) -> None:
        self._parent_pipe = parent_pipe
        self._process: Optional[Popen[bytes]] = None

    def run(self, claims: deque[tuple[int, Job]], inbox: SimpleQueue[Message]) -> None:
        """Run one job after the other, as long as there is one that nobody has taken; OSError if no process starts."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # its process, too: Ctrl-C is for this one
        with suppress(IndexError):  # no job is left
            while True:
                index, job = claims.popleft()
                try:
                    inbox.put((index, self._run_job(index, job, inbox)))
                except OSError:
                    claims.append((index, job))  # for a worker that runs
                    raise
        self._end()

    def _run_job(self, index: int, job: Job, inbox: SimpleQueue[Message]) -> JobResult:
        if self._process is None and not self._start():
            self._end()  # killed before it was ready: another one may fare better, and else fails at its first job
            self._start()
        try:
            self._connection.send(job)
            while not isinstance(message := self._connection.recv(), JobResult):
                inbox.put((index, message))
            return message
        except Exception as exc:  # the process has died, or else the job or its result cannot be pickled
            died = WorkerDiedError(self._end())
            return JobResult(error=died if isinstance(exc, (EOFError, ConnectionError)) else exc)

    def _start(self) -> bool:
        """Start the process; false if it has ended before it was ready."""
        with _start_lock:
            self._connection, theirs = Pipe()
            with theirs:
                fds = theirs.fileno(), self._parent_pipe
                self._process = Popen([sys.executable, "-c", WORKER.format(*fds)], pass_fds=fds,
                                      stdin=DEVNULL, stdout=DEVNULL, env={**os.environ, **import_env()})
        with suppress(EOFError, ConnectionError):
            return self._connection.recv() is None
        return False

    def _end(self) -> str:
        """Let the process end, if there is one; returns how it has."""
        if self._process is None:
            return ""
        self._connection.close()
        code, self._process = self._process.wait(), None
        return "killed" if code == -signal.SIGKILL else f"exit code {code}"


def import_env() -> dict[str, str]:
    """Environment variables that let a worker find modules where this process does, and not in the current folder."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": ""}  # no SAFEPATH before Python 3.11
