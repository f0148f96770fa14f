"""Run a function when a training has ended without an error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable


@contextmanager
def after_success(do: Callable[[], None]) -> Iterator[None]:
    """Call a function at the end of the context, unless it raises; `sys.exit(0)` is a success."""
    try:
        yield
    except SystemExit as exc:
        if not exc.code:
            do()
        raise
    do()
