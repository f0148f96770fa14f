"""Overlap hashing with I/O in a second thread: both release the GIL.

A signal may interrupt the thread that hands out the work at any step. `SimpleQueue` survives that; `Queue` and the
executors, which are built on conditions, may keep a lock that is never released.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, Callable, TypeVar

_QUEUE_SIZE = 8  # items that wait for the other thread, in memory
_END = object()

T = TypeVar("T")


@contextmanager
def background(do: Callable[[T], Any]) -> Iterator[Callable[[T], Any]]:
    """Call `do` with one item after another in a second thread.

    Yields:
        A function that queues the next item. On exit all items are done, and what `do` raised is raised.
    """
    todo: SimpleQueue[Any] = SimpleQueue()
    free: SimpleQueue[None] = SimpleQueue()
    for _ in range(_QUEUE_SIZE):
        free.put(None)
    errors: list[Exception] = []

    def take(item: T) -> None:
        free.get()
        todo.put(item)

    def consume() -> None:
        for item in iter(todo.get, _END):
            try:
                if not errors:
                    do(item)
            except Exception as exc:
                errors.append(exc)
            free.put(None)

    thread = Thread(target=consume, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        yield do
        return
    try:
        yield take
    finally:
        todo.put(_END)
        thread.join()
    for error in errors:
        raise error


def map_two(do: Callable[[T], Any], items: Iterable[T], then: Callable[[T], Any]) -> None:
    """Call `do` with all items, two at a time, and `then` in this thread with each that is done; an error ends it."""
    left = iter(list(items))  # both threads take the next one
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
