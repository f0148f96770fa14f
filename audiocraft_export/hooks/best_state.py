"""Detect in which epoch a solver last changed its best state."""

from collections.abc import Iterator
from typing import Any, Optional
from weakref import ref

import torch

UNKNOWN = 0  # no epoch, because epochs are counted from 1


class BestStateWatch:
    """Compares the best state of a solver after each epoch with the one before, without reading or copying tensors.

    Attributes:
        epoch: the last epoch that was looked at.
        changed: the last epoch in which the best state was replaced or changed; None if that was before the first look;
            `UNKNOWN` if epochs were missed.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.changed: Optional[int] = None
        self._restored = 0
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
        seen = _versions(state)
        is_same = len(seen) == len(self._seen) and all(
            new() is old() and now == before for (new, now), (old, before) in zip(seen, self._seen))
        if self.epoch == 0 and epoch > 1:
            self.changed = UNKNOWN
        elif not is_same:
            self.changed = epoch
        self.epoch, self._seen = epoch, seen

    def restored(self, state: Any, epoch: int) -> None:
        """Look at the best state of a checkpoint, which the next epoch is compared with.

        Args:
            state: as for `update`.
            epoch: the last epoch of the checkpoint.
        """
        if self.changed is not None and self.changed > epoch:  # in an epoch that was rolled back
            self.changed = UNKNOWN
        self.epoch, self._restored, self._seen = epoch, epoch, _versions(state)

    def changed_if_best(self, best: Optional[int]) -> Optional[int]:
        """Return `changed`; `UNKNOWN` if an epoch is said to be the best, but did not change the restored state."""
        is_kept = self.changed is None and bool(self._seen)
        return UNKNOWN if is_kept and best is not None and best > self._restored else self.changed


def _versions(state: Any) -> list[tuple[ref[torch.Tensor], int]]:
    """Return the tensors of a state and how often each was changed; one that was made in inference mode counts none."""
    return [(ref(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in _tensors(state)]


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)
