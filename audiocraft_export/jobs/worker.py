"""The worker process: runs jobs in order, and sends their progress, log records and results to its parent."""

import logging
import os
import pickle
import signal
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from queue import SimpleQueue
from threading import Lock, Thread
from typing import IO, Any, Callable, Optional

from .. import progress

READY = b"ready\n"  # the first line of a worker; what Python prints while it starts comes before
_SIZE = 8  # bytes of the size before each message
REPORT_INTERVAL = 0.2  # seconds between two progress messages of a job
Job = Callable[[], Any]


@dataclass
class JobResult:
    """The value that a job returned, or the exception that it raised."""

    value: Any = None
    error: Optional[Exception] = None

    def get(self) -> Any:
        """Return the value, or raise the exception."""
        if self.error is not None:
            raise self.error
        return self.value


def main() -> None:
    """Run the jobs that arrive on stdin, and write messages to stdout; end when stdin is closed.

    A process inherits only the standard streams in the same way on all systems. A job can neither read nor write them:
    while it runs, their descriptors refer to the null device.
    """
    incoming, outgoing, lock = _take_stream(0, "rb"), _take_stream(1, "wb"), Lock()
    jobs: SimpleQueue[Optional[bytes]] = SimpleQueue()

    def send(message: Any) -> None:
        with lock:  # several threads of a job may log at the same time
            write_message(outgoing, message)
    progress.forward_to(send, REPORT_INTERVAL)
    handler = QueueHandler(SimpleQueue())
    handler.enqueue = send  # type: ignore[assignment, method-assign]
    logging.getLogger().addHandler(handler)
    Thread(target=_receive_jobs, args=(incoming, jobs.put), daemon=True).start()
    with suppress(OSError), outgoing:  # the parent has ended
        outgoing.write(b"\n" + READY)
        outgoing.flush()
        for job in iter(jobs.get, None):
            send(run_job(job, send))


def write_message(stream: IO[bytes], message: Any) -> None:
    """Pickle a message, and write it.

    Raises:
        OSError: if the other process has closed the stream.
        Exception: if the message cannot be pickled.
    """
    data = pickle.dumps(message)
    stream.write(len(data).to_bytes(_SIZE, "big") + data)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes:
    """Read a pickled message.

    Raises:
        EOFError: if the stream ends.
    """
    size = int.from_bytes(stream.read(_SIZE), "big")
    data = stream.read(size)
    if not size or len(data) < size:
        raise EOFError
    return data


def run_job(pickled: bytes, send: Callable[[Any], None]) -> JobResult:
    """Run a pickled job; `send` is first called with an empty progress, which shows the job as running."""
    send(progress.Progress("", 1))
    try:
        return JobResult(pickle.loads(pickled)())
    except Exception as exc:
        return JobResult(error=_to_picklable(exc))


def _to_picklable(exc: Exception) -> Exception:
    """Return an exception with its traceback, or a RuntimeError if it cannot be pickled."""
    error: Exception = ExceptionWithTraceback(exc, exc.__traceback__)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some exceptions cannot be pickled, others cannot be unpickled
        return RuntimeError(f"{type(exc).__name__}: {exc}")
    return error


def _take_stream(descriptor: int, mode: str) -> IO[bytes]:
    """Return a new stream for an open file, and let its descriptor refer to the null device instead."""
    stream = os.fdopen(os.dup(descriptor), mode)
    with open(os.devnull, mode) as null:
        os.dup2(null.fileno(), descriptor)
    return stream


def _receive_jobs(stream: IO[bytes], put: Callable[[Optional[bytes]], None]) -> None:
    """Queue jobs until the parent has closed the stream, or has ended; then end this process."""
    with suppress(EOFError):
        while True:
            put(read_message(stream))
    signal.raise_signal(signal.SIGTERM)
    put(None)  # the process ignores SIGTERM, or removes partial output first
