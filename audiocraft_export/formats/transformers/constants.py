"""Tensors of one value, which transformers requires where AudioCraft's model has nothing."""

from collections.abc import Mapping
from functools import partial
from itertools import repeat
from math import prod

import torch

from ...checkpoint.tensor import ITEMSIZE, LazyTensor, contiguous
from ...errors import CheckpointError, listing
from ...storage.lazy_bytes import CHUNK_SIZE, LazyBytes, slice_stream


def constant(value: int, dtype: str, shape: tuple[int, ...], name: str) -> LazyTensor:
    """A tensor whose elements all have one value; it takes no memory."""
    size = ITEMSIZE[dtype]
    element = torch.tensor([value], dtype=getattr(torch, dtype)).view(torch.uint8).numpy().tobytes()
    read = partial(slice_stream, repeat(element * (CHUNK_SIZE // size)))
    return LazyTensor(LazyBytes(prod(shape) * size, read, name=name), dtype, 0, shape, contiguous(shape))


def remove_constants(tensors: Mapping[str, LazyTensor], values: Mapping[str, int], missing: str, same: str
                     ) -> dict[str, LazyTensor]:
    """Remove the tensors that a conversion has added, by the values of their elements.

    Raises:
        CheckpointError: if one has other values by now.
    """
    trained = [name for name, value in values.items() if name in tensors and not _is_constant(tensors[name], value)]
    if trained:
        raise CheckpointError(f"AudioCraft's {missing}, and {listing(trained)} is no longer {same}: it was trained "
                              "further in transformers, so load it there.")
    return {name: tensor for name, tensor in tensors.items() if name not in values}


def _is_constant(tensor: LazyTensor, value: int) -> bool:
    expected = constant(value, tensor.dtype, tensor.shape, tensor.blob.name)
    return tensor.own_bytes.read_checked() == expected.own_bytes.read_checked()
