"""What a process does that is started for a part of a batch: one job after the other, and it tells how that goes."""

from __future__ import annotations

import logging
import os
import pickle
import select
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from pathlib import Path
from threading import Thread
from typing import Any, Callable, Optional

from .. import progress
from .message_log import Journal

Job = Callable[[], Any]
Numbered = tuple[int, Job]  # with its index in the batch


@dataclass
class Answer:
    """What has come of a job: a value, or what was raised."""

    value: Any = None
    error: Optional[Exception] = None

    def result(self) -> Any:
        """The value.

        Raises:
            Exception: what was raised instead.
        """
        if self.error is not None:
            raise self.error
        return self.value


@dataclass
class Task:
    """Some jobs of a batch, done one after the other wherever this is called.

    Its journal gets messages with the index of the job that they are of: a `Share` when that begins and while it goes
    on, the records of its log, and the `Answer` at its end.

    Args:
        jobs: the index of each in the batch, and what to do.
        journal: the file.
        every: seconds between two messages of how far a job is.
        heap: a folder, where several tasks have the same jobs: who takes one leaves a file there, on one machine.
        leash: a named pipe; nobody has it open for writing any more when the process that started this one is gone.
    """

    jobs: Sequence[Numbered]
    journal: Path
    every: float
    heap: Optional[Path] = None
    leash: Optional[Path] = None

    def __call__(self) -> None:
        """Do the jobs."""
        for number in (signal.SIGTERM, signal.SIGCONT):  # submitit would hear them and go on
            signal.signal(number, signal.SIG_DFL)
        if self.leash is not None:
            Thread(target=_end_with, args=(self.leash,), daemon=True).start()
        for index, job in filter(self._takes, self.jobs):
            teller = _Teller(index, Journal(self.journal))
            teller.put_nowait(progress.Progress("", 1))
            progress.forward_to(teller.put_nowait, self.every)
            handler = QueueHandler(teller)  # type: ignore[arg-type]
            logging.getLogger().addHandler(handler)
            try:
                answer = _attempt(job)
            finally:
                logging.getLogger().removeHandler(handler)
            teller.journal.write((index, answer))

    def _takes(self, job: Numbered) -> bool:
        if self.heap is not None:
            try:
                (self.heap / str(job[0])).touch(exist_ok=False)
            except FileExistsError:
                return False
        return True


@dataclass
class _Teller:
    """Tells of a job as long as it can: a disk that is full is no reason to lose a release."""

    index: int
    journal: Journal

    def put_nowait(self, message: Any) -> None:
        try:
            self.journal.write((self.index, message))
        except OSError:
            pass


def _attempt(job: Job) -> Answer:
    try:
        return Answer(job())
    except Exception as exc:
        error = ExceptionWithTraceback(exc, exc.__traceback__)
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # not every exception can be pickled, and not every pickled one be made again
            error = RuntimeError(f"{type(exc).__name__}: {exc}")
        return Answer(error=error)


def last_words(log: Path) -> str:
    """What a log says of a task's end: its last line with an error, or else its last one, and none of submitit."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("submitit ")]
    errors = [line for line in lines if "error" in line.lower()]
    return [*lines, *errors][-1] if lines else ""


def _end_with(leash: Path) -> None:
    """End this process with the one that holds the leash, or with submitit's between them."""
    parent = os.getppid()
    try:
        descriptor = os.open(leash, os.O_RDONLY | os.O_NONBLOCK)
        while os.getppid() == parent and not select.select([descriptor], [], [], 0.5)[0]:
            pass
        if os.getppid() == parent and leash.exists():  # that process was killed: nobody else puts its folder away
            shutil.rmtree(leash.parent, ignore_errors=True)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
