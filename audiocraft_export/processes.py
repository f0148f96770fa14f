"""Several things at once, in processes of their own: Python reads only one checkpoint at a time in each."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any, Callable, TypeVar

from . import progress
from .errors import ExportError

T = TypeVar("T")


@contextmanager
def processes(count: int) -> Iterator[Callable[[Callable[[], T]], Callable[[], T]]]:
    """Do several things at once; their progress and their log are those of this process.

    Args:
        count: how many at once.

    Returns:
        A function that has something done, which can be pickled, and gives one that waits for its result.

    Raises:
        ExportError: by the latter, if the process that did it has died.
    """
    context = get_context("spawn")  # a fork would copy locks that other threads hold
    told = context.Queue()
    with progress.several() as display:
        listener = Thread(target=_listen, args=(told, display), daemon=True)
        listener.start()
        try:
            with ProcessPoolExecutor(count, context, _begin, (told,)) as pool:
                try:
                    yield lambda do: partial(_result, pool.submit(_do, do))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    for process in active_children():
                        process.terminate()
                    raise
        finally:
            told.put(None)
            listener.join()
            told.close()


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    except BrokenProcessPool as exc:
        raise ExportError("The process that should have exported this was killed, or another one at its side: export "
                          "it again, with fewer --jobs if the memory was full.") from exc


def _listen(told: Any, display: progress.Display) -> None:
    for heard in iter(told.get, None):
        if isinstance(heard, logging.LogRecord):
            with display.hidden():
                logging.getLogger(heard.name).handle(heard)
        else:
            display.update(*heard)
            display.refresh()


# In the other processes.

def _begin(told: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the first one decides
    logging.getLogger().addHandler(QueueHandler(told))
    progress.relay(told.put)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _do(do: Callable[[], T]) -> T:
    try:
        return do()
    except SystemExit as exc:  # told to stop: what was half done has been put away, and nothing else is begun
        os._exit(exc.code if isinstance(exc.code, int) else 1)
