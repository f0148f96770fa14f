"""Overlap hashing with I/O in a second thread: both release the GIL.

A signal handler may raise in the main thread at any point. `SimpleQueue` tolerates that; `Queue` and the executors
use conditions, which may then keep a lock forever.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, Callable, TypeVar

_QUEUE_SIZE = 3  # items in memory for the second thread, with the one that it works on
_END = object()

T = TypeVar("T")


@contextmanager
def background(do: Callable[[T], Any]) -> Iterator[Callable[[T], Any]]:
    """Call a function with one item after another in a second thread.

    Yields:
        A function that queues the next item; when the block ends, all items are processed.

    Raises:
        Exception: the first error of `do`, at the end of the block.
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
    """Call `do` with all items in two threads, and `then` in this thread with each item that is done.

    Raises:
        Exception: the first error of `do` or `then`; no further items are started.
    """
    left = iter(list(items))  # shared: each thread takes the next item
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
