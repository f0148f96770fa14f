"""Pad the T5 hidden size so that transformers keeps the projection between encoder and decoder.

transformers has no projection if both have the same size, as in AudioGen's default configuration. The added channels
are always 0, because their weights and their columns of the projection are 0. The norms divide by the mean square of
all channels; their weights and epsilon are scaled to compensate for the added channels, so that the output is equal up
to rounding in float32.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

from torch.nn.functional import pad

from ....checkpoint.tensor import LazyTensor
from ....checkpoint.torch_tensors import from_torch, to_torch
from .text_encoder import TextEncoder

PADDING = 64  # number of channels to add
PROJECTION = "enc_to_dec_proj.weight"
CHANNELS_FIRST = (".o.weight", ".wo.weight", "norm.weight")  # suffixes; elsewhere channels come last


def pad_t5(encoder: TextEncoder) -> TextEncoder:
    """Return the T5 with more channels, and with the same output in the first channels."""
    size = encoder.config["d_model"]
    shrink = size / (size + PADDING)
    config = {**encoder.config, "d_model": size + PADDING,
              "layer_norm_epsilon": encoder.config["layer_norm_epsilon"] * shrink}
    tensors = dict(encoder.tensors)
    for name, tensor in encoder.tensors.items():
        if not name.endswith("relative_attention_bias.weight"):  # this tensor has no channels
            tensors[name] = _pad(tensor, name.endswith(CHANNELS_FIRST), sqrt(shrink) if "norm" in name else 1.0)
    return replace(encoder, config=config, tensors=tensors)


def pad_projection(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Pad the projection of the T5; `tensors` have their names in transformers."""
    return {name: _pad(tensor) if name == PROJECTION else tensor for name, tensor in tensors.items()}


def unpad_projection(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Restore the projection of AudioCraft bit for bit."""
    if PROJECTION not in tensors:
        return dict(tensors)
    return {**tensors, **from_torch({PROJECTION: to_torch(tensors[PROJECTION])[:, :-PADDING].contiguous()})}


def _pad(tensor: LazyTensor, channels_first: bool = False, factor: float = 1.0) -> LazyTensor:
    """Add channels of zeros to a tensor, and multiply the tensor by a factor."""
    old = to_torch(tensor)
    padded = pad(old, (0, 0, 0, PADDING) if channels_first and old.dim() == 2 else (0, PADDING))
    return from_torch({"": padded * factor if factor != 1 else padded})[""]
