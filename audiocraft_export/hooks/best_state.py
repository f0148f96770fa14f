"""Detect in which epoch a solver last changed its best state."""

from collections.abc import Iterator
from typing import Any, Optional
from weakref import ref

import torch


class BestStateWatch:
    """Compares the best state of a solver after each epoch with the one before, without reading or copying tensors.

    Attributes:
        epoch: the last epoch that was looked at.
        changed: the last epoch in which the best state was replaced or changed; None if that was before the first look.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.changed: Optional[int] = None
        self._seen: list[tuple[ref[torch.Tensor], int]] = []

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Begin anew in a copy, whose tensors are others; references to tensors cannot be pickled."""
        return BestStateWatch, ()

    def update(self, state: Any, epoch: int) -> None:
        """Compare the best state after an epoch, counted from 1.

        Args:
            state: nested dicts with tensors; anything else has none.
            epoch: the epoch.
        """
        # A tensor that was made in inference mode counts no changes.
        seen = [(ref(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in _tensors(state)]
        is_same = len(seen) == len(self._seen) and all(
            new() is old() and now == before for (new, now), (old, before) in zip(seen, self._seen))
        is_resumed = not self._seen and epoch > 1
        if not is_same and not is_resumed:
            self.changed = epoch
        self.epoch, self._seen = epoch, seen


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)
