"""Apply a function to the parts of a long list, in several processes of this machine."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any, Callable, TypeVar

from ..storage.platform import processors
from .local import run_in_workers
from .worker import Job, JobResult

ITEMS_PER_PROCESS = 2000  # fewer would not be worth the start of a process
MAX_PROCESSES = 8
_PARTS_PER_PROCESS = 4  # so that all processes end at about the same time

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_parts(function: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Return the results of a function for consecutive parts of a list; a short list is one part, for this process.

    Args:
        function: takes a part. It, the items and the results are pickled; after a failure in another process, it is
            called again in this one.
        items: the list.

    Raises:
        Exception: any error of `function` in this process.
    """
    count = min(processors(), MAX_PROCESSES, len(items) // ITEMS_PER_PROCESS)
    if count < 2:
        return [function(items)]
    size = -(-len(items) // (count * _PARTS_PER_PROCESS))
    jobs: list[Job] = [partial(function, items[begin:begin + size]) for begin in range(0, len(items), size)]
    found: dict[int, Any] = {}
    with closing(run_in_workers(count, jobs)) as messages:
        for index, message in messages:
            if isinstance(message, JobResult):
                found[index] = jobs[index]() if message.error else message.value
    return [found[index] for index in range(len(jobs))]
