"""Two things at once: hashing, reading and writing let go of the interpreter, so that threads use two cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import Any, Callable, Optional, TypeVar

WORKERS = 2
_WAITING = 8  # what may wait for the other thread: its memory is not free

T = TypeVar("T")


@contextmanager
def beside(do: Callable[[T], Any]) -> Iterator[Callable[[T], Any]]:
    """Do something with one thing after another in a second thread, while this one goes on.

    Args:
        do: what to do with each; what it raises is raised here, at the end.

    Returns:
        A function that takes the next one; when this is left, all is done.
    """
    todo: Queue[Optional[T]] = Queue(_WAITING)
    errors: list[Exception] = []
    thread = Thread(target=_do_all, args=(todo, do, errors), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # a process that is about to end starts none any more
        yield do
        return
    try:
        yield todo.put
    finally:
        todo.put(None)
        thread.join()
    for error in errors:
        raise error


def _do_all(todo: Queue[Optional[T]], do: Callable[[T], Any], errors: list[Exception]) -> None:
    for item in iter(todo.get, None):
        try:
            if not errors:
                do(item)
        except Exception as exc:
            errors.append(exc)


def side_by_side(do: Callable[[T], Any], items: Iterable[T], then: Callable[[T], Any]) -> None:
    """Do something with all of several things, some at a time.

    Args:
        do: what to do with each; the first error ends it.
        items: the things.
        then: called in this thread, in their order, with each that is done.
    """
    items = list(items)
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            doing: Iterator[Any] = pool.map(do, items)
        except RuntimeError:
            doing = map(do, items)
        for item, _ in zip(items, doing):
            then(item)
