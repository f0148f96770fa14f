"""Copy and average the weights of a model, in the layout of AudioCraft's checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def copy_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a copy of a state dict that later training does not change."""
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


class EMA:
    """Exponential moving average of the floating-point tensors of a model, as AudioCraft's ModuleDictEMA."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.state = {"model": copy_state(self._tensors())}
        self.count = 0.

    def _tensors(self) -> dict[str, torch.Tensor]:
        named = [*self.model.named_parameters(), *self.model.named_buffers()]
        return {name: tensor for name, tensor in named if tensor.is_floating_point()}

    @torch.no_grad()
    def step(self) -> None:
        """Update the average with the current weights, without bias towards the initial weights."""
        self.count = self.count * self.decay + 1
        for name, tensor in self._tensors().items():
            self.state["model"][name].lerp_(tensor, 1 / self.count)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Give the model the averaged weights inside this context."""
        own = copy_state(self.model.state_dict())
        self.model.load_state_dict({**own, **self.state["model"]})
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """Return the state to store in a checkpoint."""
        return {"state": self.state, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.state, self.count = state["state"], state["count"]
