"""Run many jobs at once, in worker processes or on a cluster, and show their progress and log records."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Callable, Protocol

from ..errors import ExportError
from ..progress import Display, Progress
from .worker import Job, JobResult

Message = tuple[int, Any]  # index of a job, and a Progress, a LogRecord or a JobResult
IDLE: Message = (-1, None)


class Executor(Protocol):
    """Where the jobs of a batch are run."""

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Run the jobs; when closed early, decide what becomes of the others.

        Yields:
            Messages as they arrive, in the end one `JobResult` of each job; `IDLE` where nothing has arrived.

        Raises:
            ExportError: if the jobs cannot be started.
        """


def results(jobs: Sequence[Job], executor: Executor,
            display: Display) -> Generator[tuple[int, Callable[[], Any]], None, None]:
    """Run jobs; yields the index of each when it is done, and a function that returns its value or raises its error."""
    with closing(executor.run(jobs)) as messages:
        for index, message in messages:
            if isinstance(message, JobResult):
                display.end(index, message.error is not None)
                yield index, message.get
            elif isinstance(message, Progress):
                display.update(index, message)
            elif isinstance(message, logging.LogRecord):
                with display.pause():
                    logging.getLogger(message.name).handle(message)
            display.refresh()


def died(failure_details: str) -> JobResult:
    """Make the result of a job whose worker has died."""
    return JobResult(error=ExportError("Its process has ended: export it again, with more memory or time if it had "
                                       f"too little ({failure_details})."))


def import_env() -> dict[str, str]:
    """Environment variables that let a worker find modules where this process does, and not in the current folder."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}  # the latter has no meaning before Python 3.11
