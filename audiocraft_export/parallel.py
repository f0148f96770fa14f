"""Two things at once: hashing, reading and writing let go of the interpreter, so that threads use two cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, TypeVar

WORKERS = 2
_WAITING = 8  # what may wait for the other thread: its memory is not free

T = TypeVar("T")


@contextmanager
def beside(do: Callable[[T], Any]) -> Iterator[Callable[[T], None]]:
    """Do something with one thing after another in a second thread, while this one goes on.

    Args:
        do: what to do with each; what it raises is raised here, at the end at the latest.

    Returns:
        A function that takes the next one.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Any]] = deque()

        def take(item: T) -> None:
            try:
                waiting.append(pool.submit(do, item))
            except RuntimeError:  # a process that is about to end starts no thread any more
                do(item)
            if len(waiting) > _WAITING:
                waiting.popleft().result()

        yield take
        for done in waiting:
            done.result()


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
