"""Which worker of a distributed training exports."""

import torch.distributed
from dora.distrib import get_distrib_spec

from ..errors import ExportError


def is_rank_zero() -> bool:
    """Whether this worker exports; known even after the process group is gone."""
    return bool(get_distrib_spec().rank == 0)  # type: ignore[no-untyped-call]


def barrier_is_rank_zero() -> bool:
    """As `is_rank_zero`, once all workers of the process group, if there still is one, got here.

    Raises:
        ExportError: if another worker failed.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        try:
            torch.distributed.barrier()
        except RuntimeError as exc:
            raise ExportError("Another worker of this training failed, so nothing is exported: see its log.") from exc
    return is_rank_zero()
