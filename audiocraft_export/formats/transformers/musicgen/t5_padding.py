"""A T5 of the size of its decoder, as AudioGen's default has: transformers would leave out the projection between them.

So the T5 gets some more channels, which are always 0: their weights are zeros, and the columns of the projection too.
Its norms divide by the mean square, now of more channels: their weights and epsilon make up for that, so that all else
is as it was, but for the rounding of float32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

from ....checkpoint.tensor import LazyTensor
from .text_encoder import TextEncoder

MORE = 64  # channels
PROJECTION = "enc_to_dec_proj.weight"
CHANNELS_FIRST = r".*(\.o|\.wo|norm)\.weight"  # else they are the last dimension
WITHOUT = r".*relative_attention_bias\.weight"


def widened(encoder: TextEncoder) -> TextEncoder:
    """The same T5 with more channels.

    Args:
        encoder: as it was downloaded.
    """
    size = encoder.config["d_model"]
    shrink = size / (size + MORE)
    config = {**encoder.config, "d_model": size + MORE,
              "layer_norm_epsilon": encoder.config["layer_norm_epsilon"] * shrink}
    return replace(encoder, config=config, tensors={
        name: tensor if re.fullmatch(WITHOUT, name) else
        _padded(tensor, first=bool(re.fullmatch(CHANNELS_FIRST, name)), factor=sqrt(shrink) if "norm" in name else 1.0)
        for name, tensor in encoder.tensors.items()})


def with_more_columns(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Tensors of transformers with a projection from the wider T5."""
    return {name: _padded(tensor) if name == PROJECTION else tensor for name, tensor in tensors.items()}


def with_fewer_columns(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Tensors of transformers with the projection that AudioCraft has, to the last bit."""
    from ....checkpoint.torch_tensors import from_torch, to_torch
    return {**tensors, **from_torch({name: to_torch(tensors[name])[:, :-MORE].contiguous()
                                    for name in (PROJECTION,) if name in tensors})}


def _padded(tensor: LazyTensor, first: bool = False, factor: float = 1.0) -> LazyTensor:
    from torch.nn.functional import pad

    from ....checkpoint.torch_tensors import from_torch, to_torch
    old = to_torch(tensor)
    wider = pad(old, (0, 0, 0, MORE) if first and old.dim() == 2 else (0, MORE))
    return from_torch({"": wider * factor if factor != 1 else wider})[""]
