"""Work in a second thread, such as hashing, which releases the GIL.

A signal handler may raise in the main thread at any point. `SimpleQueue` tolerates that; `Queue` and the executors
use conditions, which may then keep a lock forever.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, Callable

_END = object()
Task = Callable[[], Any]


@contextmanager
def background(finish: bool = True) -> Iterator[Callable[[Task], Any]]:
    """Run tasks in a second thread, one after another.

    Args:
        finish: whether to run all tasks before the block ends; otherwise the thread stops after the current task, as
            it does after an exception.

    Yields:
        A function that queues a task. When the block ends, the first error of a task is raised.
    """
    todo: SimpleQueue[Any] = SimpleQueue()
    errors: list[Exception] = []
    skips = False

    def run() -> None:
        for task in iter(todo.get, _END):
            try:
                if not errors and not skips:
                    task()
            except Exception as exc:
                errors.append(exc)

    thread = Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        yield lambda task: task()
        return
    try:
        yield todo.put
        skips = not finish
    except BaseException:
        skips = True
        raise
    finally:
        todo.put(_END)
        thread.join()
    for error in errors:
        raise error
