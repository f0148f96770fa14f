"""FSDP on CPU workers, with state dicts as `audiocraft.optim.fsdp` stores them."""

from typing import Any

import torch
from torch import nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.fsdp import FullStateDictConfig, ShardingStrategy, StateDictType
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP


class Sharded(FSDP):
    """A model sharded over all workers; `state_dict` returns the shard of this worker."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, sharding_strategy=ShardingStrategy.SHARD_GRAD_OP, device_id=torch.device("cpu"),
                         use_orig_params=True)
        FSDP.set_state_dict_type(self, StateDictType.LOCAL_STATE_DICT)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the parameters of this shard by name, without FSDP's flat parameter."""
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if not isinstance(value, ShardedTensor)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the shard of this worker."""
        for name, own in self.state_dict().items():
            own.copy_(state[name])

    def full_state_dict(self) -> dict[str, Any]:
        """Return the parameters of the full model on rank zero, and nothing on other ranks."""
        # offload_to_cpu=True crashes torch 2.13 if the model is on the CPU.
        config = FullStateDictConfig(offload_to_cpu=False, rank0_only=True)
        with FSDP.state_dict_type(self, StateDictType.FULL_STATE_DICT, config):
            return self.state_dict()
