"""Log the exports of a training, in lines that begin with `Export:`."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Callable

from dora.log import simple_log
from dora.xp import get_xp, is_xp
from hydra.core.hydra_config import HydraConfig

from ..errors import ExportError
from .distributed import is_rank_zero

RANK_ZERO_TIME = 10  # seconds that rank zero has to log its error before other ranks end
log = partial(simple_log, "Export:")


def log_error(error: ExportError, write: Callable[[str], None] = log) -> None:
    """Log an error and its hint in separate lines."""
    for line in error.lines:
        write(line)


def is_main_running() -> bool:
    """Return whether a main of Dora is running: over Hydra, or over argparse, which makes a Namespace."""
    return HydraConfig.initialized() or is_xp() and isinstance(get_xp().cfg, Namespace)


@contextmanager
def fatal_errors(is_fatal: bool = True) -> Iterator[None]:
    """Log an ExportError and end the process with exit code 1, without the traceback that Hydra would show.

    Dora ends all workers of a DDP training when the first one ends, and shows only the output of rank zero. The other
    ranks therefore wait until rank zero has logged its error.

    Args:
        is_fatal: if False, as if `HYDRA_FULL_ERROR=1` is set, the error is raised instead.
    """
    try:
        yield
    except ExportError as exc:
        if is_fatal and not is_rank_zero():
            time.sleep(RANK_ZERO_TIME)
        if not is_fatal or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        log_error(exc)
        sys.exit(1)
