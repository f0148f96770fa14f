"""Show the progress of exports: a bar on a terminal, log lines elsewhere, nothing for short or small exports.

Any module may report the progress of the export that runs in its thread; all exports of a process share one display.
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .errors import coded_warning, readable_size, reason, show_warning
from .signals import exit_on_sigterm

INITIAL_DELAY = 5.  # seconds before anything is shown
MIN_BYTES = 10_000_000  # nothing is shown for a single release that is smaller
BAR_EVERY, LINE_EVERY = 0.2, 5.  # seconds; the interval of lines grows during a long export

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """The progress of one export."""

    name: str
    passes: int  # how many times each byte of the release is counted: 2 if it is written and read back
    nbytes: int = 0  # size of the release
    work: int = 0  # bytes to count, `nbytes` times `passes`
    done: int = 0  # bytes counted so far
    phase: str = ""  # current activity if it is not counting bytes, such as an import

    @property
    def fraction(self) -> float:
        """Fraction of the work that is done, from 0 to 1."""
        return min(self.done / self.work, 1.) if self.work else 0.

    @property
    def nbytes_done(self) -> float:
        """Bytes of the release that are done; a release that is written and not yet read back is half done."""
        return self.nbytes * self.fraction


class Display:
    """Show all exports of a process on a terminal or in the log."""

    def __init__(self) -> None:
        self.users = self.exports = 0
        self._running: dict[int, Progress] = {}
        self._finished, self._failed, self._nbytes_finished = 0, 0, 0.
        self._start = time.monotonic()
        self._idle = 0.  # seconds without counting: before the first export writes, and in phases
        self._next_refresh = self._start + INITIAL_DELAY
        self._lock = threading.RLock()
        self._bar: Any = None

    def update(self, key: int, progress: Progress) -> None:
        """Add a running export, or replace its progress; `key` identifies the export."""
        with self._lock:
            if progress.work:  # the progress comes from another process, which counts bytes already
                self.begin_counting()
            self._running[key] = progress
            self.exports = max(self.exports, self._finished + len(self._running))

    def end(self, key: int, failed: bool) -> None:
        """Count an export as finished, and as failed with `failed`."""
        with self._lock:
            self._finished += 1
            self._failed += failed
            self._nbytes_finished += self._running.pop(key, Progress("", 1)).nbytes_done

    def refresh(self) -> None:
        """Update the bar or log a line, if the interval has passed."""
        with self._lock:
            is_small, is_quiet = self._only and self._only.nbytes < MIN_BYTES, not logger.isEnabledFor(logging.WARNING)
            if time.monotonic() < self._next_refresh or is_small or is_quiet:
                return
            try:
                self._show()
            except Exception as exc:  # an export must not fail because its terminal was closed
                self._next_refresh = math.inf
                logger.warning(show_warning(coded_warning(
                    "progress-not-shown", f"progress cannot be shown ({reason(exc)}); the export continues")))

    def begin_counting(self) -> None:
        """Start measuring the rate, if no bytes have been counted yet."""
        with self._lock:
            if not self._nbytes_finished and not any(each.done for each in self._running.values()):
                self._idle = time.monotonic() - self._start

    @contextmanager
    def phase(self, progress: Progress, name: str) -> Iterator[None]:
        """Show `name` instead of the rate in the `with` block, and exclude its time from estimates."""
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
        """Remove the bar in the `with` block."""
        with self._lock:
            if self._bar is not None:
                with suppress(OSError):
                    self._bar.stop()
                self._bar = None
            yield

    @property
    def _only(self) -> Optional[Progress]:
        """The progress of the only export of this process; None if there are several exports."""
        return next(iter(self._running.values()), None) if self.exports == 1 else None

    @property
    def _name(self) -> str:
        """The label of the bar: the name of the only export, or the number of exports in each state."""
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
        """The text next to the bar: the current phase, or the bytes, the rate and the remaining time."""
        if self._only and self._only.phase:
            return self._only.phase
        seconds, fraction = max(time.monotonic() - self._start - self._idle, 1e-3), self._fraction
        nbytes = self._nbytes_finished + sum(each.nbytes_done for each in self._running.values())
        of_all = f" of {readable_size(self._only.nbytes)}" if self._only else ""
        left = f", {_clock(seconds * (1 - fraction) / fraction)} left" if fraction else ""
        return f"{readable_size(nbytes)}{of_all} ({fraction:.0%}), {readable_size(nbytes / seconds)}/s{left}"

    def _show(self) -> None:
        """Draw the bar if stderr is a terminal, or log a line."""
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
    """Send the progress of the export in this process to another process.

    Args:
        put: sends a progress.
        every: seconds between two messages.
    """

    def __init__(self, put: Callable[[Progress], None], every: float) -> None:
        super().__init__()
        self.users, self._next_refresh = 1, self._start  # keeps this display in use; the first refresh sends at once
        self._put, self._every = put, every
        self._progress = Progress("", 1)

    def update(self, key: int, progress: Progress) -> None:
        """Send the progress of a new export."""
        self._progress = progress
        self._put(progress)

    def end(self, key: int, failed: bool) -> None:
        """Send the final progress of the export."""
        self._put(self._progress)

    def refresh(self) -> None:
        """Send the current progress, if the interval has passed."""
        if time.monotonic() >= self._next_refresh:
            self._next_refresh = time.monotonic() + self._every
            self._put(self._progress)


_display: Optional[Display] = None
_lock = threading.Lock()
_progress: ContextVar[Optional[Progress]] = ContextVar("_progress", default=None)  # of this thread's export


@contextmanager
def show_progress(exports: int = 0) -> Iterator[Display]:
    """Show all exports of this process in the `with` block; `exports` is their number, if known."""
    global _display
    with _lock:
        _display = display = _display or Display()
        display.users += 1
        display.exports = max(display.exports, exports)
    try:
        with exit_on_sigterm():  # killing the process while a bar is shown would leave the terminal without a cursor
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
    """Track the export that this thread runs in the `with` block; a nested block belongs to the same export.

    Args:
        name: the name to show.
        passes: how many times each byte of the release is counted.
    """
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
    """Send the progress of this process to another process from now on, and show nothing; see `ForwardingDisplay`."""
    global _display
    _display = ForwardingDisplay(put, every)


def set_total(nbytes: int, passes: Optional[int] = None) -> None:
    """Start counting the bytes of the export in this thread, if any; `passes` overrides that of `track`."""
    progress = _progress.get()
    if progress:
        progress.nbytes, progress.work, progress.done = nbytes, nbytes * (passes or progress.passes), 0
        if _display:
            _display.begin_counting()


def advance(nbytes: int) -> None:
    """Count bytes of the export in this thread, if any."""
    progress = _progress.get()
    if progress and _display:
        progress.done += nbytes
        _display.refresh()


def counted(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield chunks, and count their bytes."""
    for chunk in chunks:
        yield chunk
        advance(len(chunk))


def phase(name: str) -> AbstractContextManager[None]:
    """Show an activity of the export in this thread that is not counted in bytes, such as an import."""
    progress = _progress.get()
    return _display.phase(progress, name) if progress and _display else nullcontext()


def hide() -> AbstractContextManager[None]:
    """Hide the progress bar in the `with` block, so that text can be printed."""
    return _display.pause() if _display else nullcontext()


def _clock(seconds: float) -> str:
    """Format a duration as `M:SS` or `H:MM:SS`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
