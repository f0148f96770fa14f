"""Which worker of a distributed training exports, and when."""

from __future__ import annotations

import torch.distributed
from dora.distrib import get_distrib_spec

from ..errors import ExportError


def is_rank_zero() -> bool:
    """Whether this worker exports; known even after the process group is gone."""
    return bool(get_distrib_spec().rank == 0)  # type: ignore[no-untyped-call]


def barrier_is_rank_zero() -> bool:
    """As `is_rank_zero`, once all workers got here: a training that failed on another one is not exported.

    Workers know of each other only as long as their process group is there.

    Raises:
        ExportError: if another worker did not get here.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        try:
            torch.distributed.barrier()
        except RuntimeError as exc:
            raise ExportError("Another worker of this training failed, so nothing is exported: see its log.") from exc
    return is_rank_zero()
