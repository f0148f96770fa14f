"""A cross attention without effect for a decoder without one, because transformers always has one.

MusicgenForCausalLM skips it unless it is given states to attend to; of those, weights of zero make zeros.
"""

import re
from collections.abc import Mapping

from ....checkpoint.tensor import LazyTensor
from ..constants import constant, remove_constants

VALUES = {  # of all elements
    **{f"model.decoder.layers.*.encoder_attn.{each}_proj.weight": 0 for each in ("q", "k", "v", "out")},
    "model.decoder.layers.*.encoder_attn_layer_norm.weight": 1,
    "model.decoder.layers.*.encoder_attn_layer_norm.bias": 0,
}


def zero_cross_attention(layers: int, size: int, dtype: str) -> dict[str, LazyTensor]:
    """The tensors of the cross attention of a decoder that has none, for a number of layers of a hidden size."""
    names = {pattern.replace("*", str(layer)): value for pattern, value in VALUES.items() for layer in range(layers)}
    return {name: constant(value, dtype, (size,) if "norm" in name else (size, size), name)
            for name, value in names.items()}


def remove_zero_cross_attention(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Remove the tensors of `zero_cross_attention`.

    Raises:
        CheckpointError: if one has other values by now.
    """
    patterns = {name: re.sub(r"\.\d+\.", ".*.", name, count=1) for name in tensors}
    values = {name: VALUES[pattern] for name, pattern in patterns.items() if pattern in VALUES}
    return remove_constants(tensors, values, "model has no cross attention", "what changes nothing")
