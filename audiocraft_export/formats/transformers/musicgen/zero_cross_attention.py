"""A decoder without cross attention, where transformers always has one: its tensors are there and change nothing.

MusicgenForCausalLM passes over them unless it is given states to attend to; of those, zeros as weights make zeros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod

from ....checkpoint.tensor import ITEMSIZE, LazyTensor
from ....errors import CheckpointError, listing
from ....storage.lazy_bytes import CHUNK_SIZE, Data, LazyBytes

VALUES = {  # of all elements
    "model.decoder.layers.*.encoder_attn.q_proj.weight": 0,
    "model.decoder.layers.*.encoder_attn.k_proj.weight": 0,
    "model.decoder.layers.*.encoder_attn.v_proj.weight": 0,
    "model.decoder.layers.*.encoder_attn.out_proj.weight": 0,
    "model.decoder.layers.*.encoder_attn_layer_norm.weight": 1,
    "model.decoder.layers.*.encoder_attn_layer_norm.bias": 0,
}


def fillers(layers: int, size: int, dtype: str) -> dict[str, LazyTensor]:
    """The tensors of the cross attention that a decoder does not have, by the names of transformers.

    Args:
        layers: how many.
        size: of their input.
        dtype: of the other weights.
    """
    return {name: _constant(value, dtype, (size,) if "norm" in name else (size, size), name)
            for pattern, value in VALUES.items()
            for name in (pattern.replace("*", str(layer)) for layer in range(layers))}


def without(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """A decoder of transformers without these tensors.

    Raises:
        CheckpointError: if one has other values by now.
    """
    values = {name: VALUES.get(re.sub(r"\.\d+\.", ".*.", name, count=1)) for name in tensors}
    trained = [name for name, value in values.items() if value is not None and not _is_constant(tensors[name], value)]
    if trained:
        raise CheckpointError(f"AudioCraft's model has no cross attention, and {listing(trained)} is no longer what "
                              "changes nothing: it was trained further in transformers, so load it there.")
    return {name: tensor for name, tensor in tensors.items() if values[name] is None}


def _is_constant(tensor: LazyTensor, value: int) -> bool:
    expected = _constant(value, tensor.dtype, tensor.shape, tensor.blob.name)
    return tensor.own_bytes.read_checked() == expected.own_bytes.read_checked()


def _constant(value: int, dtype: str, shape: tuple[int, ...], name: str) -> LazyTensor:
    """A tensor of one or two dimensions that takes no memory."""
    import torch
    size = ITEMSIZE[dtype]
    piece = torch.tensor([value], dtype=getattr(torch, dtype)).view(torch.uint8).numpy().tobytes() * (CHUNK_SIZE // size)

    def read(begin: int, end: int) -> Iterator[Data]:
        while begin < end:
            data = piece[begin % size:begin % size + end - begin]
            yield data
            begin += len(data)

    return LazyTensor(LazyBytes(prod(shape) * size, read, name=name), dtype, 0, shape, (*shape[1:], 1))
