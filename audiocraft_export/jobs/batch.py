"""Run jobs in parallel, in worker processes or on a cluster, and show their progress and log records."""

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Callable

from ..progress import Display, Progress
from .worker import Job, JobResult

Message = tuple[int, Any]  # index of a job, and a Progress, a LogRecord or a JobResult
IDLE: Message = (-1, None)  # sent while no message arrives
Executor = Callable[[Sequence[Job]], Generator[Message, None, None]]  # runs jobs; yields messages and `IDLE`


def results(jobs: Sequence[Job], executor: Executor,
            display: Display) -> Generator[tuple[int, Callable[[], Any]], None, None]:
    """Run jobs; yield the index of each finished job, and a function that returns its value or raises its error."""
    with closing(executor(jobs)) as messages:
        for index, message in messages:
            if isinstance(message, JobResult):
                display.end(index, message.error is not None)
                yield index, message.get
            elif isinstance(message, Progress):
                display.update(index, message)
            elif isinstance(message, logging.LogRecord):
                with display.pause():
                    _log(message)
            display.refresh()


def _log(record: logging.LogRecord) -> None:
    """Log a record of a worker, which does not know the level of this process."""
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
