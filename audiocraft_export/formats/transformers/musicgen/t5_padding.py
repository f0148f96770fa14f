"""Pad the T5 hidden size so that transformers keeps the projection between encoder and decoder.

transformers leaves it out if both have the same size, as with AudioGen's default. So the T5 gets more channels, which
are always 0: their weights are zeros, and the columns of the projection too. Its norms divide by the mean square, now
of more channels: their weights and epsilon make up for that, so that the output is equal up to rounding in float32.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

from ....checkpoint.tensor import LazyTensor
from .text_encoder import TextEncoder

PADDING = 64  # channels
PROJECTION = "enc_to_dec_proj.weight"
CHANNELS_FIRST = r".*(\.o|\.wo|norm)\.weight"  # else they are the last dimension
NO_CHANNELS = r".*relative_attention_bias\.weight"


def pad_t5(encoder: TextEncoder) -> TextEncoder:
    """The same T5 with more channels."""
    size = encoder.config["d_model"]
    shrink = size / (size + PADDING)
    config = {**encoder.config, "d_model": size + PADDING,
              "layer_norm_epsilon": encoder.config["layer_norm_epsilon"] * shrink}
    tensors = dict(encoder.tensors)
    for name, tensor in encoder.tensors.items():
        if not re.fullmatch(NO_CHANNELS, name):
            scale = sqrt(shrink) if "norm" in name else 1.0
            tensors[name] = _pad(tensor, bool(re.fullmatch(CHANNELS_FIRST, name)), scale)
    return replace(encoder, config=config, tensors=tensors)


def pad_projection(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Pad the projection of the T5 among tensors of transformers."""
    return {name: _pad(tensor) if name == PROJECTION else tensor for name, tensor in tensors.items()}


def unpad_projection(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Restore the projection that AudioCraft has, bit for bit."""
    from ....checkpoint.torch_tensors import from_torch, to_torch
    if PROJECTION not in tensors:
        return dict(tensors)
    return {**tensors, **from_torch({PROJECTION: to_torch(tensors[PROJECTION])[:, :-PADDING].contiguous()})}


def _pad(tensor: LazyTensor, channels_first: bool = False, factor: float = 1.0) -> LazyTensor:
    from torch.nn.functional import pad

    from ....checkpoint.torch_tensors import from_torch, to_torch
    old = to_torch(tensor)
    padded = pad(old, (0, 0, 0, PADDING) if channels_first and old.dim() == 2 else (0, PADDING))
    return from_torch({"": padded * factor if factor != 1 else padded})[""]
