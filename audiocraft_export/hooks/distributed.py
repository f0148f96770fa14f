"""Determine whether this worker has rank zero; only rank zero exports."""

import torch.distributed
from dora.distrib import get_distrib_spec

from ..errors import ExportError


def is_rank_zero() -> bool:
    """Return whether this worker has rank zero.

    The process group decides, because a project may start its workers without Dora. Without one, such as after it was
    destroyed, Dora's environment decides.
    """
    if _has_process_group():
        return torch.distributed.get_rank() == 0
    return bool(get_distrib_spec().rank == 0)  # type: ignore[no-untyped-call]


def barrier_is_rank_zero() -> bool:
    """Wait for all workers of the process group, if it still exists, and return whether this one has rank zero.

    Raises:
        ExportError: if another worker failed.
    """
    if _has_process_group():
        try:
            torch.distributed.barrier()
        except RuntimeError as exc:
            raise ExportError("rank-failed", "Another rank of this training failed, so nothing is exported",
                              "see the log of that rank for the cause") from exc
    return is_rank_zero()


def _has_process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
