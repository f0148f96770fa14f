"""Two things at once: hashing, reading and writing let go of the interpreter, so that threads use two cores.

A signal may end the thread that hands out the work at any step of it. `SimpleQueue` survives that; what is made of
conditions (`Queue`, the executors) may keep a lock that nobody can let go of any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, Callable, TypeVar

_QUEUE_SIZE = 8  # what may wait for the other thread: its memory is not free
_END = object()

T = TypeVar("T")


@contextmanager
def background(do: Callable[[T], Any]) -> Iterator[Callable[[T], Any]]:
    """Do something with one thing after another in a second thread, while this one goes on.

    Args:
        do: what to do with each; what it raises is raised here, at the end.

    Returns:
        A function that takes the next one; when this is left, all is done.
    """
    todo: SimpleQueue[Any] = SimpleQueue()
    free: SimpleQueue[None] = SimpleQueue()
    for _ in range(_QUEUE_SIZE):
        free.put(None)
    errors: list[Exception] = []
    thread = Thread(target=_consume, args=(todo, free, do, errors), daemon=True)

    def take(item: T) -> None:
        free.get()
        todo.put(item)

    try:
        thread.start()
    except RuntimeError:  # a process that is about to end starts none any more
        yield do
        return
    try:
        yield take
    finally:
        todo.put(_END)
        thread.join()
    for error in errors:
        raise error


def _consume(todo: SimpleQueue[Any], free: SimpleQueue[None], do: Callable[[T], Any], errors: list[Exception]) -> None:
    for item in iter(todo.get, _END):
        try:
            if not errors:
                do(item)
        except Exception as exc:
            errors.append(exc)
        free.put(None)


def map_two(do: Callable[[T], Any], items: Iterable[T], then: Callable[[T], Any]) -> None:
    """Do something with all of several things, two at a time.

    Args:
        do: what to do with each; an error ends it.
        items: the things.
        then: called in this thread with each that is done.
    """
    left = iter(list(items))  # of which each thread takes the next one
    done: deque[T] = deque()

    def do_some(others: Iterator[T]) -> None:
        for item in others:
            do(item)
            done.append(item)

    with background(do_some) as start:
        start(left)
        try:
            for item in left:
                do(item)
                then(item)
                while done:
                    then(done.popleft())
        finally:
            deque(left, maxlen=0)
    for item in done:
        then(item)
