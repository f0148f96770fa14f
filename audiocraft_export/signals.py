"""Turn SIGTERM, SIGHUP and SIGBREAK into SystemExit, so that partial output is removed."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has no SIGHUP, other systems have no SIGBREAK
CLEANUP_PERIOD = 10.  # seconds in which further signals are ignored, so that they do not interrupt the cleanup

_last_signal = -math.inf  # value of time.monotonic() at the last signal
_exit_code: Optional[int] = None  # since a signal, if SystemExit was raised for it


def available(*names: str) -> list[signal.Signals]:
    """Return the signals with these names that the system has."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit in the `with` block on a signal that would otherwise end the process without cleanup.

    Applies to the main thread, and to signals without a handler. The exit code is 128 + the number of the signal, as
    in a shell. Python ignores exceptions that are raised in a finalizer; SystemExit is then raised at the end.
    """
    global _exit_code, _last_signal
    is_main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in available(*SIGNALS) if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _exit)
    if numbers:
        _last_signal, _exit_code = -math.inf, None
    try:
        yield
    finally:
        for number in numbers:
            if signal.getsignal(number) is _exit:  # no other code has replaced the handler since
                signal.signal(number, signal.SIG_DFL)
    if numbers and _exit_code is not None:
        raise SystemExit(_exit_code)


def _exit(number: int, frame: Any) -> None:
    """Handle a signal: exit, unless another signal has started the cleanup already."""
    global _exit_code, _last_signal
    if time.monotonic() > _last_signal + CLEANUP_PERIOD:
        _last_signal, _exit_code = time.monotonic(), 128 + number
        raise SystemExit(_exit_code)
