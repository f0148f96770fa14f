"""Determine whether this worker has rank zero; only rank zero exports."""

import sys
from typing import Any

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


def is_sharded(source: Any) -> bool:
    """Return whether FSDP has split the module of a `flashy.state.StateDictSource` over several ranks.

    Its `state_dict()` is one shard, or waits until all ranks call it.
    """
    from flashy.state import AttributeWrapper, WriteOnlyWrapper  # here, because not every training uses Flashy
    source = source.source if isinstance(source, WriteOnlyWrapper) else source
    module = getattr(source.owner, source.name, None) if isinstance(source, AttributeWrapper) else source
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(module, torch.nn.Module) and any(
        isinstance(each, fsdp.FullyShardedDataParallel) and each.world_size > 1
        and each.sharding_strategy is not fsdp.ShardingStrategy.NO_SHARD for each in module.modules())


def _has_process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
