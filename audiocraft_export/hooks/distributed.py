"""Determine whether this worker has rank zero; only rank zero exports."""

import torch.distributed
from dora.distrib import get_distrib_spec

from ..errors import ExportError


def is_rank_zero() -> bool:
    """Return whether this worker has rank zero; also works after the process group was destroyed."""
    return bool(get_distrib_spec().rank == 0)  # type: ignore[no-untyped-call]


def barrier_is_rank_zero() -> bool:
    """Wait for all workers of the process group, if it still exists, and return whether this one has rank zero.

    Raises:
        ExportError: if another worker failed.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        try:
            torch.distributed.barrier()
        except RuntimeError as exc:
            raise ExportError("rank-failed", "Another rank of this training failed, so nothing is exported",
                              "see the log of that rank for the cause") from exc
    return is_rank_zero()
