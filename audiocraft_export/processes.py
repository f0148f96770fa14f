"""Several things at once, in processes of their own: Python reads only one checkpoint at a time in each.

Each process has a pipe of its own and a thread here that listens to it, and nothing is shared: one that is killed
takes only what it was doing with it.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from queue import SimpleQueue
from threading import RLock, Thread
from typing import Any, Callable, Optional, TypeVar

from . import progress
from .errors import ExportError

T = TypeVar("T")


@dataclass
class _Answer:
    """What has come of something: a value, or what was raised."""

    value: Any = None
    error: Optional[Exception] = None

    def result(self) -> Any:
        """The value; raises what was raised."""
        if self.error is not None:
            raise self.error
        return self.value


@contextmanager
def processes(count: int) -> Iterator[Callable[[Sequence[Callable[[], T]]], Iterator[tuple[int, Callable[[], T]]]]]:
    """Do several things at once; their progress and their log are those of this process.

    Args:
        count: how many at once.

    Returns:
        A function that has things done, which can be pickled, and gives each as soon as it is finished: its index, and
        a function that gives its value or raises its error; an `ExportError` if the process that did it has died.
    """
    with progress.several() as display:
        crew = _Crew(display)
        threads = [Thread(target=crew.serve, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield crew.do_all
        except BaseException:
            crew.stop()
            raise
        finally:
            for _ in threads:
                crew.todo.put(None)
            for thread in threads:
                thread.join()


class _Crew:
    """What is to be done, and the processes that do it.

    Args:
        display: shows how far they are.
    """

    def __init__(self, display: progress.Display) -> None:
        self.todo: SimpleQueue[Any] = SimpleQueue()
        self._display = display
        self._workers: list[_Worker] = []
        self._stopped = False

    def do_all(self, jobs: Sequence[Callable[[], Any]]) -> Iterator[tuple[int, Callable[[], Any]]]:
        """Have things done; gives the index and the result of each, the first finished first."""
        answers: SimpleQueue[tuple[int, _Answer]] = SimpleQueue()
        for index, do in enumerate(jobs):
            self.todo.put((index, do, answers))
        for _ in jobs:
            index, answer = answers.get()
            yield index, answer.result

    def stop(self) -> None:
        """Tell all that is going on to end, and begin nothing else."""
        self._stopped = True
        for worker in self._workers:
            worker.process.terminate()

    def serve(self) -> None:
        """Have one thing after the other done by a process, and by a new one if that has died."""
        worker: Optional[_Worker] = None
        for index, do, answers in iter(self.todo.get, None):
            if self._stopped:
                continue
            try:
                if worker is None or not worker.process.is_alive():
                    worker = self._employ()
                answer = worker.do(do, self._hear)
            except Exception as exc:
                answer = _Answer(error=exc)
            answers.put((index, answer))
        if worker is not None:
            worker.dismiss()

    def _employ(self) -> _Worker:
        worker = _Worker()
        self._workers.append(worker)
        if self._stopped:
            worker.process.terminate()
        return worker

    def _hear(self, message: Any) -> None:
        if isinstance(message, logging.LogRecord):
            with self._display.hidden():
                logging.getLogger(message.name).handle(message)
        else:
            self._display.update(*message)
            self._display.refresh()


class _Worker:
    """A process that does one thing after the other."""

    def __init__(self) -> None:
        context = get_context("spawn")  # a fork would copy locks that other threads hold
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # which unblocks SIGINT
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until it ignores it
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def do(self, do: Callable[[], Any], hear: Callable[[Any], None]) -> _Answer:
        """Have something done, and hear what is said of it meanwhile."""
        try:
            self._pipe.send(do)
            while True:
                message = self._pipe.recv()
                if isinstance(message, _Answer):
                    return message
                hear(message)
        except (EOFError, OSError):
            self.dismiss()
            hear((self.process.pid, None))
            code = self.process.exitcode or 0
            end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return _Answer(error=ExportError(f"The process that exported this has ended ({end}): export it again, "
                                             "with fewer --jobs if the memory was full."))

    def dismiss(self) -> None:
        """Wait for its end."""
        self._pipe.close()
        self.process.join()


# In the other processes.

def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the first one decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    teller = _Teller(pipe)
    logging.getLogger().addHandler(QueueHandler(teller))  # type: ignore[arg-type]
    progress.relay(teller.put_nowait)
    Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            do = pipe.recv()
        except (EOFError, OSError):
            return
        teller.put_nowait(_attempt(do))


def _attempt(do: Callable[[], Any]) -> _Answer:
    try:
        return _Answer(do())
    except Exception as exc:
        return _Answer(error=ExceptionWithTraceback(exc, exc.__traceback__))
    except SystemExit as exc:  # told to stop: what was half done has been put away, and nothing else is begun
        os._exit(exc.code if isinstance(exc.code, int) else 1)


class _Teller:
    """Says to the process that started this one what is going on.

    Args:
        pipe: leads there.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = RLock()
        self._whole = True

    def put_nowait(self, message: Any) -> None:
        """Say something; nothing more after a signal has cut something off."""
        with self._lock:
            if self._whole:
                self._whole = False
                self._pipe.send(message)
                self._whole = True


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
