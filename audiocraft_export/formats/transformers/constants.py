"""Constant tensors for parameters that transformers requires and AudioCraft's model does not have."""

from collections.abc import Mapping
from functools import partial
from itertools import repeat
from math import prod

import torch

from ...checkpoint.tensor import ITEMSIZE, LazyTensor, contiguous
from ...errors import CheckpointError, listing
from ...storage.lazy_bytes import CHUNK_SIZE, LazyBytes, slice_stream


def constant(value: int, dtype: str, shape: tuple[int, ...], name: str) -> LazyTensor:
    """Create a tensor whose elements all have the same value, without allocating memory for it."""
    size = ITEMSIZE[dtype]
    element = torch.tensor([value], dtype=getattr(torch, dtype)).view(torch.uint8).numpy().tobytes()
    read = partial(slice_stream, repeat(element * (CHUNK_SIZE // size)))
    return LazyTensor(LazyBytes(prod(shape) * size, read, name=name), dtype, 0, shape, contiguous(shape))


def remove_constants(tensors: Mapping[str, LazyTensor], values: Mapping[str, int], missing: str, same: str
                     ) -> dict[str, LazyTensor]:
    """Remove the constant tensors that the conversion to transformers has added.

    Args:
        tensors: all tensors by name.
        values: the names of the added tensors, with the value of their elements.
        missing: the part that AudioCraft's model lacks, for a message, such as "codec has no LSTM".
        same: the values before any further training, for a message, such as "zero".

    Raises:
        CheckpointError: if an added tensor has other values, because it was trained in transformers.
    """
    trained = [name for name, value in values.items() if name in tensors and not _is_constant(tensors[name], value)]
    if trained:
        raise CheckpointError("lossy-conversion",
                              f"AudioCraft's {missing}, but {listing(trained)} is not {same}, so it was trained "
                              "further in transformers", "load the model with transformers")
    return {name: tensor for name, tensor in tensors.items() if name not in values}


def _is_constant(tensor: LazyTensor, value: int) -> bool:
    """Return whether all elements of a tensor are equal to a value."""
    expected = constant(value, tensor.dtype, tensor.shape, tensor.blob.name)
    return tensor.own_bytes.read_checked() == expected.own_bytes.read_checked()
