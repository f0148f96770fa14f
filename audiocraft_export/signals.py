"""Turn SIGTERM and SIGHUP into SystemExit, so that partial output is removed."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
CLEANUP_PERIOD = 10.  # seconds: another signal within them must not cut short the cleanup that the first one has begun

_last_signal = -math.inf  # time.monotonic() of it


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """While inside, raise SystemExit on a signal that would end the process at once.

    Only in the main thread, and only signals without a handler; the exit code is the usual one, 128 + the number.
    """
    global _last_signal
    is_main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in SIGNALS if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _exit)
    if numbers:
        _last_signal = -math.inf
    try:
        yield
    finally:
        for number in numbers:
            if signal.getsignal(number) is _exit:  # nobody has replaced it since
                signal.signal(number, signal.SIG_DFL)


def _exit(number: int, frame: Any) -> None:
    global _last_signal
    if time.monotonic() > _last_signal + CLEANUP_PERIOD:
        _last_signal = time.monotonic()
        raise SystemExit(128 + number)
