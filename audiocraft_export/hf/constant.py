"""Tensors of one value, which take no memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ..blob import PIECE, Blob, Data
from ..tensor import ITEMSIZE, Tensor


def constant(value: float, dtype: str, shape: tuple[int, ...], name: str) -> Tensor:
    """A tensor that is the same everywhere.

    Args:
        value: of all elements.
        dtype: name of the element type.
        shape: size of each of its one or two dimensions, in elements.
        name: what to call it in an error.
    """
    import torch
    size = ITEMSIZE[dtype]
    element = torch.tensor([value], dtype=getattr(torch, dtype)).view(torch.uint8).numpy().tobytes()
    piece = element * (PIECE // size)

    def read(begin: int, end: int) -> Iterator[Data]:
        while begin < end:
            shift = begin % size
            data = piece[shift:shift + end - begin]
            yield data
            begin += len(data)

    return Tensor(Blob(prod(shape) * size, read, name=name), dtype, 0, shape,
                  (*shape[1:], 1))
