"""The state of a living solver, as if it had been read from a file."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..storage.lazy_bytes import LazyBytes
from .torch_tensors import describe_tensor


class SolverState(Mapping[str, Any]):
    """The sections of a living solver; tensors are described, not copied.

    Args:
        sources: by the name of the section, what gives the state (`flashy.state.StateDictSource`); it is asked only
            when its section is, since under FSDP asking may involve all ranks.

    Raises:
        CheckpointError: by a section with a tensor that has no plain storage (sparse, quantized, meta, ...).
    """

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self._sources = sources

    def __getitem__(self, name: str) -> Any:
        return _to_lazy(self._sources[name].state_dict(), {})

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def _to_lazy(state: Any, storages: dict[Any, LazyBytes]) -> Any:
    if isinstance(state, torch.Tensor):
        return describe_tensor(state.detach(), storages)
    if isinstance(state, dict):
        return {key: _to_lazy(value, storages) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [_to_lazy(value, storages) for value in state]
    return state
