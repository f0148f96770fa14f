"""Tasks of a batch as processes of this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Optional

from ..errors import ExportError, reason
from .worker import Numbered, Task, last_words

if TYPE_CHECKING:
    import submitit

FOREVER = 60 * 24 * 365  # minutes


class Local:
    """Processes of this machine, which end with this one.

    Args:
        count: how many.
    """

    look = 0.02
    tell = 0.2

    def __init__(self, count: int) -> None:
        self._count = count
        self._stack = ExitStack()
        self._started: list[submitit.Job[Any]] = []

    def __enter__(self) -> Local:
        with ExitStack() as stack:
            try:
                self.folder = Path(stack.enter_context(TemporaryDirectory(prefix="audiocraft-export-")))
                self.heap: Optional[Path] = self.folder / "heap"
                self.heap.mkdir()
                self.leash: Optional[Path] = self.folder / "leash"
                os.mkfifo(self.leash)
            except OSError as exc:
                raise ExportError(f"No folder for the processes of --jobs can be made ({reason(exc)}): let $TMPDIR be "
                                  "one that can be written to.") from exc
            stack.callback(self._wait)
            stack.callback(os.close, os.open(self.leash, os.O_RDWR))  # to write only, one would wait for a reader
            stack.callback(self.leash.unlink, missing_ok=True)  # first: this process puts the folder away itself
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.close()

    def deal(self, jobs: Sequence[Numbered]) -> list[Sequence[Numbered]]:
        """The jobs of each task: all may take any."""
        return [jobs] * min(self._count, len(jobs))

    def submit(self, tasks: Sequence[Task]) -> list[submitit.Job[Any]]:
        """Start processes."""
        import submitit
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C reaches all: the first one decides
        try:
            for task in tasks:
                executor = submitit.LocalExecutor(self.folder)  # one waits between two tasks
                executor.update_parameters(timeout_min=FOREVER)
                self._started.append(executor.submit(task))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return self._started[len(self._started) - len(tasks):]

    def end_of(self, started: submitit.Job[Any]) -> Optional[str]:
        """Nothing is known of a process that has ended but that."""
        return "" if started.done() else None

    def patience(self, end: str) -> float:
        """What was said last is there: all is on this machine."""
        return 0.

    def story(self, started: submitit.Job[Any], end: str) -> str:
        """What its log says, if it came to that."""
        return last_words(started.paths.stderr) or "killed"

    def _wait(self) -> None:
        while not all(started.done() for started in self._started):
            time.sleep(self.look)
