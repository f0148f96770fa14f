"""Many jobs at once, here or on a cluster: there is one way to have them done, and submitit starts their processes.

Nothing is shared but one journal a task. A task that dies takes only what it was doing with it: what it had done is
known, and another task does the rest.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol

from ..errors import ExportError, reason
from ..progress import Display, Progress
from .message_log import Journal
from .worker import Answer, Job, Numbered, Task

if TYPE_CHECKING:
    import submitit

CANCELLED = "CANCELLED"
LOOKS = 200  # at journals in a second, at most: they may be on a file server


class Executor(AbstractContextManager[Any], Protocol):
    """Where tasks are done.

    Entered, it has a folder for them; left before they are done, it sees to what becomes of them.

    Args:
        folder: for what is said about tasks and by them.
        look: seconds between two looks at the journals.
        tell: seconds between two messages of how far a job is.
        heap, leash: of its tasks.
    """

    folder: Path
    look: float
    tell: float
    heap: Optional[Path]
    leash: Optional[Path]

    def deal(self, jobs: Sequence[Numbered]) -> Sequence[Sequence[Numbered]]:
        """The jobs of each task."""

    def submit(self, tasks: Sequence[Task]) -> Sequence[submitit.Job[Any]]:
        """Have tasks begun.

        Raises:
            ExportError: if that cannot be.
        """

    def end_of(self, started: submitit.Job[Any]) -> Optional[str]:
        """The state in which a task has ended, as far as one is known; None as long as it has not."""

    def patience(self, end: str) -> float:
        """For how many seconds what a task said last may still be on its way, when it is over and has ended so."""

    def story(self, started: submitit.Job[Any], end: str) -> str:
        """What is known of a task that has died; `end` is its state."""


class Batch:
    """Jobs that are being done, and what is known of them.

    Args:
        jobs: what to do; each can be pickled.
        executor: where; it has been entered.
        display: shows how far they are.
    """

    def __init__(self, jobs: Sequence[Job], executor: Executor, display: Display) -> None:
        self._executor, self._display = executor, display
        self._count = 0
        self._left = {*range(len(jobs))}
        self._again: set[int] = set()  # what a task had that ended before it began
        self._tasks = self._begin(executor.deal([*enumerate(jobs)]), executor.heap)

    def results(self) -> Iterator[tuple[int, Callable[[], Any]]]:
        """The index of each job as soon as it is done, and a function that gives its value or raises its error."""
        while self._tasks:
            heard = False
            for task in [*self._tasks]:
                for index, answer in self._news(task):
                    heard = True
                    yield index, answer.result
            self._display.refresh()
            if self._tasks and not heard:
                time.sleep(max(self._executor.look, len(self._tasks) / LOOKS))

    def _begin(self, parts: Sequence[Sequence[Numbered]], heap: Optional[Path] = None) -> list[_Started]:
        folder, tasks = self._executor.folder, []
        try:
            for jobs in parts:
                self._count += 1
                journal = folder / f"{self._count}.journal"
                journal.touch()  # what is there already is not looked for in vain first
                tasks.append(Task(jobs, journal, self._executor.tell, heap, self._executor.leash))
            with _imports_as_here():
                return [_Started(task, handle) for task, handle in zip(tasks, self._executor.submit(tasks))]
        except OSError as exc:
            raise ExportError(f"The files of the tasks, in {folder}, cannot be written ({reason(exc)}): make room "
                              "there, or take another folder, by $TMPDIR for --jobs, or --slurm folder=DIR.") from exc

    def _news(self, task: _Started) -> Iterator[tuple[int, Answer]]:
        """What a task has done since the last time, and what it will not do any more."""
        end = self._executor.end_of(task.handle)
        is_over = task.is_over(None if end is None else self._executor.patience(end))
        for index, said in task.journal.read(last=is_over):
            if index in self._left:  # a task that Slurm has begun again repeats itself
                yield from self._hear(task, index, said)
        if is_over or self._left.isdisjoint(index for index, _ in task.jobs):
            self._tasks.remove(task)
            yield from self._bury(task, end or "")

    def _hear(self, task: _Started, index: int, said: Any) -> Iterator[tuple[int, Answer]]:
        task.current, task.has_begun = index, True
        if isinstance(said, Answer):
            task.current = None
            yield from self._answer(index, said)
        elif isinstance(said, Progress):
            self._display.update(index, said)
        elif isinstance(said, logging.LogRecord):
            with self._display.pause():
                logging.getLogger(said.name).handle(said)

    def _bury(self, task: _Started, end: str) -> Iterator[tuple[int, Answer]]:
        """What a task has died of fails; what nobody else does is for a new one, unless that would end so too."""
        rest = [(index, job) for index, job in task.jobs if index in self._left and index != task.current]
        if rest:
            others = {index for other in self._tasks for index, _ in other.jobs}
            rest = [(index, job) for index, job in rest if index not in others]
        numbers = {index for index, _ in rest}
        hopeless = end == CANCELLED or not task.has_begun and (len(rest) == 1 or bool(numbers & self._again))
        if not task.has_begun:
            self._again |= numbers
        failed = [task.current] if task.current is not None else []
        failed += [*numbers] if hopeless else []
        for index in failed:
            yield from self._answer(index, Answer(error=ExportError(
                "Its process has ended: export it again, with more memory or time if it had too little "
                f"({self._executor.story(task.handle, end)}).")))
        if rest and not hopeless:
            try:
                self._tasks += self._begin([rest])
            except ExportError as exc:
                for index, _ in rest:
                    yield from self._answer(index, Answer(error=exc))

    def _answer(self, index: int, answer: Answer) -> Iterator[tuple[int, Answer]]:
        self._left.discard(index)
        self._display.end(index, answer.error is not None)
        yield index, answer


class _Started:
    """A task, and what is known of it.

    Args:
        task: what is to be done.
        handle: submitit's job.
    """

    def __init__(self, task: Task, handle: submitit.Job[Any]) -> None:
        self.jobs, self.handle = task.jobs, handle
        self.journal = Journal(task.journal)
        self.has_begun = False
        self.current: Optional[int] = None
        self._over: Optional[float] = None

    def is_over(self, patience: Optional[float]) -> bool:
        """Whether it is over, and has been for so long that nothing it said can be on its way.

        Args:
            patience: how long that may take, in seconds; None as long as it is not over.
        """
        if patience is None:
            self._over = None
            return False
        if self._over is None:
            self._over = time.monotonic()
        return time.monotonic() >= self._over + patience


@contextmanager
def _imports_as_here() -> Iterator[None]:
    """While inside, Python that is started finds modules where this one does, and not in the current folder."""
    from submitit.helpers import environment_variables
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    with environment_variables(PYTHONPATH=path, PYTHONSAFEPATH="1"):  # the latter has no meaning before Python 3.11
        yield
