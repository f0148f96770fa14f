"""Progress of exports: one bar on a terminal, else lines in the log; nothing for short or small exports.

An export reports its progress in its own thread, from any module; all exports of a process are shown together.
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .errors import readable_size, reason
from .signals import exit_on_sigterm

INITIAL_DELAY = 5.  # seconds in which nothing is shown
MIN_BYTES = 10_000_000  # of a single release; nothing is shown for less
BAR_EVERY, LINE_EVERY = 0.2, 5.  # seconds; lines get rarer in a long export

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """The progress of one export."""

    name: str
    passes: int  # how often each byte of its release is counted: when it is written, and when it is read back
    nbytes: int = 0  # size of the release
    work: int = 0  # bytes to count, `nbytes` times `passes`
    done: int = 0  # bytes counted so far
    phase: str = ""  # what it does instead of counting bytes, such as an import

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1."""
        return min(self.done / self.work, 1.) if self.work else 0.

    @property
    def nbytes_done(self) -> float:
        """How much of the release is done, in bytes; one that is not read back yet is not done."""
        return self.nbytes * self.fraction


class Display:
    """All exports of a process, shown on a terminal or in the log."""

    def __init__(self) -> None:
        self.users = self.exports = 0
        self._running: dict[int, Progress] = {}
        self._finished, self._failed, self._nbytes_finished = 0, 0, 0.
        self._start = time.monotonic()
        self._idle = 0.  # seconds in which no byte could be counted: before the first export writes, and in phases
        self._next_refresh = self._start + INITIAL_DELAY
        self._lock = threading.RLock()
        self._bar: Any = None

    def update(self, key: int, progress: Progress) -> None:
        """Show the progress of a running export from now on."""
        with self._lock:
            if progress.work:  # of another process
                self.begin_counting()
            self._running[key] = progress
            self.exports = max(self.exports, self._finished + len(self._running))

    def end(self, key: int, failed: bool) -> None:
        """Count an export as finished, or as one that will never start."""
        with self._lock:
            self._finished += 1
            self._failed += failed
            self._nbytes_finished += self._running.pop(key, Progress("", 1)).nbytes_done

    def refresh(self) -> None:
        """Show the present state, if it is time to."""
        with self._lock:
            if time.monotonic() < self._next_refresh or self._only and self._only.nbytes < MIN_BYTES:
                return
            try:
                self._show()
            except Exception as exc:  # a terminal that is gone is no reason to lose a release
                self._next_refresh = math.inf
                logger.warning("The progress cannot be shown (%s); the export goes on.", reason(exc))

    def begin_counting(self) -> None:
        """Estimate the rate from now on, if no byte was counted yet."""
        with self._lock:
            if not self._nbytes_finished and not any(each.done for each in self._running.values()):
                self._idle = time.monotonic() - self._start

    @contextmanager
    def phase(self, progress: Progress, name: str) -> Iterator[None]:
        """While inside, an export does something else than counting bytes; nothing is estimated from that."""
        begin, progress.phase = time.monotonic(), name
        self.refresh()
        try:
            yield
        finally:
            progress.phase = ""
            with self._lock:
                self._idle += (time.monotonic() - begin) / max(len(self._running), 1)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """While inside, there is no bar."""
        with self._lock:
            if self._bar is not None:
                with suppress(OSError):
                    self._bar.stop()
                self._bar = None
            yield

    @property
    def _only(self) -> Optional[Progress]:
        return next(iter(self._running.values()), None) if self.exports == 1 else None

    @property
    def _name(self) -> str:
        if self._only:
            return self._only.name
        running = len(self._running)
        return (f"{self._finished - self._failed} done, {self._failed} failed, {running} running, "
                f"{self.exports - self._finished - running} pending")

    @property
    def _fraction(self) -> float:
        return (self._finished + sum(each.fraction for each in self._running.values())) / max(self.exports, 1)

    @property
    def _state(self) -> str:
        if self._only and self._only.phase:
            return self._only.phase
        seconds, fraction = max(time.monotonic() - self._start - self._idle, 1e-3), self._fraction
        nbytes = self._nbytes_finished + sum(each.nbytes_done for each in self._running.values())
        of_all = f" of {readable_size(self._only.nbytes)}" if self._only else ""
        left = f", {_clock(seconds * (1 - fraction) / fraction)} left" if fraction else ""
        return f"{readable_size(nbytes)}{of_all} ({fraction:.0%}), {readable_size(nbytes / seconds)}/s{left}"

    def _show(self) -> None:
        from rich.console import Console
        console, now = Console(stderr=True), time.monotonic()
        if sys.stderr is None or not console.is_interactive:
            self._next_refresh = now + max(LINE_EVERY, (now - self._start - 100) / 20)
            logger.info("%s: %s", self._name, self._state)
            return
        self._next_refresh = now + BAR_EVERY
        if self._bar is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar
            self._bar = Bar(TextColumn("{task.description}", markup=False), BarColumn(),
                            TextColumn("{task.fields[state]}", markup=False), console=console, auto_refresh=False,
                            transient=True, redirect_stdout=False, redirect_stderr=False)
            self._bar.add_task(self._name, total=1., completed=self._fraction, state=self._state)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=self._name, completed=self._fraction, state=self._state,
                         refresh=True)


class ForwardingDisplay(Display):
    """Send the progress of the export of this process to another one, with `put`, `every` so many seconds."""

    def __init__(self, put: Callable[[Progress], None], every: float) -> None:
        super().__init__()
        self.users, self._next_refresh = 1, self._start  # for good, and at once
        self._put, self._every = put, every
        self._progress = Progress("", 1)

    def update(self, key: int, progress: Progress) -> None:
        """Send the progress of a new export."""
        self._progress = progress
        self._put(progress)

    def end(self, key: int, failed: bool) -> None:
        """Send the progress of the export at its end."""
        self._put(self._progress)

    def refresh(self) -> None:
        """Send the present state, if it is time to."""
        if time.monotonic() >= self._next_refresh:
            self._next_refresh = time.monotonic() + self._every
            self._put(self._progress)


_display: Optional[Display] = None
_lock = threading.Lock()
_progress: ContextVar[Optional[Progress]] = ContextVar("_progress", default=None)  # of the export of this thread


@contextmanager
def show_progress(exports: int = 0) -> Iterator[Display]:
    """While inside, show all exports of this process together: `exports` of them, if that is known."""
    global _display
    with _lock:
        _display = display = _display or Display()
        display.users += 1
        display.exports = max(display.exports, exports)
    try:
        with exit_on_sigterm():  # a terminal whose process is killed under a bar is left without a cursor
            yield display
    finally:
        with _lock:
            display.users -= 1
            if not display.users:
                _display = None
                with display.pause():
                    pass


@contextmanager
def track(name: str, passes: int = 2) -> Iterator[None]:
    """While inside, this thread runs an export; one inside another is a part of that. See `Progress`."""
    outer = _progress.get()
    if outer:
        outer.name, outer.passes = name, passes
        yield
        return
    with show_progress() as display:
        progress, failed = Progress(name, passes), True
        _progress.set(progress)
        display.update(threading.get_ident(), progress)
        try:
            yield
            failed = False
        finally:
            display.end(threading.get_ident(), failed)
            _progress.set(None)


def forward_to(put: Callable[[Progress], None], every: float) -> None:
    """From now on, send the progress of this process to another one, and show nothing; see `ForwardingDisplay`."""
    global _display
    _display = ForwardingDisplay(put, every)


def set_total(nbytes: int, passes: Optional[int] = None) -> None:
    """Start counting the bytes of the export of this thread, if it runs one; `passes` override those of `track`."""
    progress = _progress.get()
    if progress:
        progress.nbytes, progress.work, progress.done = nbytes, nbytes * (passes or progress.passes), 0
        if _display:
            _display.begin_counting()


def advance(nbytes: int) -> None:
    """Count bytes of the export of this thread, if it runs one."""
    progress = _progress.get()
    if progress and _display:
        progress.done += nbytes
        _display.refresh()


def phase(name: str) -> AbstractContextManager[None]:
    """While inside, this thread does something else for its export, if it runs one: an import, as `name` says."""
    progress = _progress.get()
    return _display.phase(progress, name) if progress and _display else nullcontext()


def hide() -> AbstractContextManager[None]:
    """While inside, hide the bar, so that text can be printed."""
    return _display.pause() if _display else nullcontext()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
