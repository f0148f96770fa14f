"""Being told to stop: what is half done is put away first, and nobody takes it for a mistake."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
GRACE_PERIOD = 10.  # seconds: another signal within them must not cut short what the first one has begun

_last_signal = -math.inf  # when


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """While inside, a signal that would end the process at once unwinds it first, as Ctrl-C does.

    Only where nobody else has decided what the signal does; the exit code is the usual one, 128 + its number.
    """
    global _last_signal
    mine = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL] \
        if threading.current_thread() is threading.main_thread() else []
    for number in mine:
        signal.signal(number, _exit)
    _last_signal = -math.inf if mine else _last_signal
    try:
        yield
    finally:
        for number in mine:
            if signal.getsignal(number) is _exit:  # nobody has come in between
                signal.signal(number, signal.SIG_DFL)


def _exit(number: int, frame: Any) -> None:
    global _last_signal
    if time.monotonic() > _last_signal + GRACE_PERIOD:
        _last_signal = time.monotonic()
        raise SystemExit(128 + number)


class _HandlerError(BaseException):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def propagate_handler_errors() -> Iterator[None]:
    """While inside, what the handler of a signal raises cannot be caught as an error of the code that it interrupts.

    A scheduler may end a job so: submitit raises, when the time is up and the job is not to be requeued.

    Raises:
        Exception: what the handler has raised.
    """
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()} \
        if threading.current_thread() is threading.main_thread() else {}
    mine = {number: partial(_call_handler, handler) for number, handler in handlers.items() if callable(handler)}
    for number, heed in mine.items():
        signal.signal(number, heed)
    try:
        yield
    except _HandlerError as raised:
        raise raised.error from None
    finally:
        for number, heed in mine.items():
            if signal.getsignal(number) is heed:  # nobody has come in between
                signal.signal(number, handlers[number])


def _call_handler(handler: Callable[[int, Any], Any], number: int, frame: Any) -> None:
    try:
        handler(number, frame)
    except Exception as exc:
        raise _HandlerError(exc) from exc
