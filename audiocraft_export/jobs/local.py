"""Jobs in worker processes of this machine: each belongs to a thread, which starts another one when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from multiprocessing import Pipe
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from threading import Thread
from typing import Optional

from ..errors import ExportError, reason
from .batch import IDLE, Message, died, import_env
from .worker import IndexedJob, Job, JobResult, last_log_line

POLL_INTERVAL = 0.1  # seconds between two looks at the display where no worker says anything
WORKER = "import sys; from audiocraft_export.jobs.worker import main; main(*map(int, sys.argv[1:]))"


class Local:
    """Worker processes of this machine, which end with this one.

    Args:
        count: how many, at most.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Run the jobs: whichever worker is free takes the next one."""
        claims, inbox = deque(enumerate(jobs)), SimpleQueue[Message]()
        with ExitStack() as stack:
            try:
                logs = [stack.enter_context(TemporaryFile(buffering=0)) for _ in jobs[:self._count]]
            except OSError as exc:
                raise ExportError(f"No folder for the processes of --jobs can be made ({reason(exc)}): let $TMPDIR be "
                                  "one that can be written to.") from exc
            parent_pipe, held_end = os.pipe()
            stack.callback(os.close, parent_pipe)
            threads = [_WorkerThread(claims, inbox, parent_pipe, log) for log in logs]
            stack.callback(_join, threads)
            stack.callback(os.close, held_end)  # which ends all workers
            stack.callback(claims.clear)
            for thread in threads:
                thread.start()
            yield from _receive(inbox, len(jobs))


class _WorkerThread(Thread):
    """A thread that owns one worker process.

    Args:
        claims: the jobs that nobody has taken yet.
        inbox: gets the messages.
        parent_pipe: its other end is closed when this process ends.
        log: what the worker says on stderr.
    """

    def __init__(self, claims: deque[IndexedJob], inbox: SimpleQueue[Message], parent_pipe: int, log: FileIO) -> None:
        super().__init__(daemon=True)
        self._claims, self._inbox, self._parent_pipe, self._log = claims, inbox, parent_pipe, log
        self._process: Optional[subprocess.Popen[bytes]] = None

    def run(self) -> None:
        """Let the worker run one job after the other."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # its worker, too: Ctrl-C is for this process
        while self._claims:
            with suppress(IndexError):  # another thread was faster
                index, job = self._claims.popleft()
                self._inbox.put((index, self._run_job(index, job)))
        self._end_worker()

    def _run_job(self, index: int, job: Job) -> JobResult:
        try:
            if self._process is None:
                self._start_worker()
            self._connection.send(job)
            while not isinstance(message := self._connection.recv(), JobResult):
                self._inbox.put((index, message))
            return message
        except Exception as exc:
            has_died = self._process is not None and isinstance(exc, (EOFError, OSError))
            failure_details = self._end_worker()
            return died(failure_details) if has_died else JobResult(error=exc)

    def _start_worker(self) -> None:
        self._launch()
        try:
            self._connection.recv()
        except (EOFError, OSError):  # killed before it was ready: another one may fare better
            self._end_worker()
            self._launch()
            self._connection.recv()

    def _launch(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            fds = theirs.fileno(), self._parent_pipe
            self._process = subprocess.Popen(
                [sys.executable, "-c", WORKER, *map(str, fds)], pass_fds=fds, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=self._log,
                env={**os.environ, **import_env(), "CUDA_VISIBLE_DEVICES": ""})

    def _end_worker(self) -> str:
        """Let the worker end, if there is one; returns what is known of its end."""
        if self._process is None:
            return ""
        self._connection.close()
        self._process.wait()
        self._process = None
        self._log.seek(0)
        log = self._log.read().decode("utf-8", "replace")
        self._log.seek(0)
        self._log.truncate()
        return last_log_line(log) or "killed"


def _receive(inbox: SimpleQueue[Message], count: int) -> Iterator[Message]:
    """Yield messages until there is a result of each job."""
    while count:
        try:
            index, message = inbox.get(timeout=POLL_INTERVAL)
        except Empty:
            index, message = IDLE
        count -= isinstance(message, JobResult)
        yield index, message


def _join(threads: Sequence[Thread]) -> None:
    for thread in threads:
        if thread.is_alive():
            thread.join()
