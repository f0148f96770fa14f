"""How far exports are: one bar on a terminal, else lines in the log; nothing for what takes less than a second.

An export says what it does in its own thread, wherever it is; all exports of a process are shown together.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Callable, Optional

from .errors import readable_size, reason
from .signals import exit_on_sigterm

if TYPE_CHECKING:
    from rich.console import Console

INITIAL_DELAY = 1.  # seconds in which nothing is shown
BAR_EVERY, LINE_EVERY = 0.2, 5.  # seconds; lines get rarer where they go on for long

logger = logging.getLogger(__name__)


class Progress:
    """What one export has to do, and how much of that is done.

    Args:
        name: of the export.
        passes: how often each byte of its release passes by: written, and read back.
    """

    def __init__(self, name: str, passes: int) -> None:
        self.name, self.passes = name, passes
        self.nbytes = self.work = self.done = 0

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1."""
        return min(self.done / self.work, 1.) if self.work else 0.


class Display:
    """The exports that go on together, on a terminal or in the log."""

    def __init__(self) -> None:
        self.users = self.exports = 0
        self._shares: dict[int, Progress] = {}
        self._finished, self._failed, self._nbytes = 0, 0, 0.
        self._began = time.monotonic()
        self._next = self._began + INITIAL_DELAY
        self._lock = threading.RLock()
        self._bar: Any = None

    def update(self, key: int, share: Progress) -> None:
        """What the export does that has this key as long as it goes on."""
        with self._lock:
            self._shares[key] = share
            self.exports = max(self.exports, self._finished + len(self._shares))

    def end(self, key: int, failed: bool) -> None:
        """That export has ended, or will never begin."""
        with self._lock:
            share = self._shares.pop(key, None)
            self._finished += 1
            self._failed += failed
            self._nbytes += share.nbytes * share.fraction if share is not None else 0

    def refresh(self) -> None:
        """Show how far they are, if it is time to."""
        if time.monotonic() < self._next:
            return
        with self._lock:
            if time.monotonic() < self._next:
                return
            try:
                self._show()
            except Exception as exc:  # a terminal that is gone is no reason to lose a release
                self._next = math.inf
                logger.warning("The progress cannot be shown (%s); the export goes on.", reason(exc))

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
        return next(iter(self._shares.values()), None) if self.exports == 1 else None

    @property
    def _name(self) -> str:
        if self._only:
            return self._only.name
        running = len(self._shares)
        return (f"{self._finished - self._failed} done, {self._failed} failed, {running} running, "
                f"{self.exports - self._finished - running} pending")

    @property
    def _fraction(self) -> float:
        return (self._finished + sum(share.fraction for share in self._shares.values())) / max(self.exports, 1)

    @property
    def _state(self) -> str:
        """How much, how fast, how long it will take; a byte of a release that was written is not verified yet."""
        seconds, fraction = time.monotonic() - self._began, self._fraction
        nbytes = self._nbytes + sum(share.nbytes * share.fraction for share in self._shares.values())
        of_all = f" of {readable_size(self._only.nbytes)}" if self._only else ""
        left = f", {_clock(seconds * (1 - fraction) / fraction)} left" if fraction else ""
        return f"{readable_size(nbytes)}{of_all} ({fraction:.0%}), {readable_size(nbytes / seconds)}/s{left}"

    def _show(self) -> None:
        from rich.console import Console
        console = Console(stderr=True)
        drawn = sys.stderr is not None and console.is_interactive
        now = time.monotonic()
        self._next = now + (BAR_EVERY if drawn else max(LINE_EVERY, (now - self._began - 100) / 20))
        if drawn:
            self._draw(console)
        else:
            logger.info("%s: %s", self._name, self._state)

    def _draw(self, console: Console) -> None:
        if self._bar is None:
            from rich import progress as rich_progress
            self._bar = rich_progress.Progress(rich_progress.TextColumn("{task.description}", markup=False), rich_progress.BarColumn(),
                                 rich_progress.TextColumn("{task.fields[state]}", markup=False), console=console,
                                 auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._bar.add_task(self._name, total=1., completed=self._fraction, state=self._state)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=self._name, completed=self._fraction, state=self._state,
                         refresh=True)


class ForwardingDisplay(Display):
    """Says how far the export of this process is to the process that started it.

    Args:
        put: takes what it does.
        every: how often, in seconds.
    """

    def __init__(self, put: Callable[[Progress], None], every: float) -> None:
        super().__init__()
        self.users = 1  # for good
        self._put, self._every = put, every
        self._share = Progress("", 1)

    def update(self, key: int, share: Progress) -> None:
        """Pass it on."""
        self._share = share
        self._put(share)

    def end(self, key: int, failed: bool) -> None:
        """Pass on how far it was at its end."""
        self._put(self._share)

    def refresh(self) -> None:
        """Pass it on, if it is time to."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self._put(self._share)


_display: Optional[Display] = None
_lock = threading.Lock()
_thread = threading.local()


@contextmanager
def show_progress(exports: int = 0) -> Iterator[Display]:
    """While inside, all exports of this process are shown together.

    Args:
        exports: how many there will be, if that is known.
    """
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
    """While inside, this thread does an export; one inside another is a part of that.

    Args:
        name: what to call it.
        passes: how often each byte of its release passes by: written, and read back.
    """
    outer: Optional[Progress] = getattr(_thread, "share", None)
    if outer is not None:
        outer.name, outer.passes = name, passes
        yield
        return
    with show_progress() as display:
        share = Progress(name, passes)
        _thread.share, _thread.display = share, display
        display.update(threading.get_ident(), share)
        failed = True
        try:
            yield
            failed = False
        finally:
            display.end(threading.get_ident(), failed)
            del _thread.share, _thread.display


def forward_to(put: Callable[[Progress], None], every: float) -> None:
    """From now on, say how far this process is to another one, and show nothing.

    Args:
        put: takes what it does.
        every: how often, in seconds.
    """
    global _display
    _display = ForwardingDisplay(put, every)


def set_total(nbytes: int, passes: Optional[int] = None) -> None:
    """The export of this thread, if it does one, begins with so many bytes.

    Args:
        nbytes: size of the release, or of that which is looked at.
        passes: how often they pass by, if not as often as those of a new release.
    """
    share: Optional[Progress] = getattr(_thread, "share", None)
    if share is not None:
        share.nbytes, share.work, share.done = nbytes, nbytes * (passes or share.passes), 0


def advance(nbytes: int) -> None:
    """So many bytes more have passed by in the export of this thread, if it does one."""
    share: Optional[Progress] = getattr(_thread, "share", None)
    if share is not None:
        share.done += nbytes
        _thread.display.refresh()


def hide() -> AbstractContextManager[None]:
    """While inside, no bar is in the way of what is printed."""
    return _display.pause() if _display else nullcontext()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
