"""The configuration of an EncodecModel for a codec of AudioCraft."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Callable

from ....errors import CheckpointError
from ....experiment.config import Config
from .constraints import Values, fitting


def _size(value: Any) -> int:
    if not 1 <= int(value) < 1 << 31:
        raise ValueError(value)
    return int(value)


def _count(value: Any) -> int:
    return _size(value + 1) - 1


def _sizes(values: Any) -> list[int]:
    return [_size(value) for value in values]


SAME: Mapping[str, tuple[str, Callable[[Any], Any]]] = {  # by the key of xp.cfg, that of EncodecConfig, and its type
    "encodec.sample_rate": ("sampling_rate", _size),
    "encodec.channels": ("audio_channels", _size),
    "encodec.renormalize": ("normalize", bool),
    "seanet.dimension": ("hidden_size", _size),
    "seanet.n_filters": ("num_filters", _size),
    "seanet.n_residual_layers": ("num_residual_layers", _count),
    "seanet.ratios": ("upsampling_ratios", _sizes),
    "seanet.norm": ("norm_type", str),
    "seanet.kernel_size": ("kernel_size", _size),
    "seanet.last_kernel_size": ("last_kernel_size", _size),
    "seanet.residual_kernel_size": ("residual_kernel_size", _size),
    "seanet.dilation_base": ("dilation_growth_rate", _size),
    "seanet.causal": ("use_causal_conv", bool),
    "seanet.pad_mode": ("pad_mode", str),
    "seanet.compress": ("compress", _size),
    "seanet.lstm": ("num_lstm_layers", _count),
    "seanet.trim_right_ratio": ("trim_right_ratio", float),
    "rvq.bins": ("codebook_size", _size),
}


def encodec_config(config: Config) -> Values:
    """The values of EncodecConfig; `num_lstm_layers` is 0 for a codec without an LSTM.

    Args:
        config: of a compression model (xp.cfg).

    Raises:
        CheckpointError: if EncodecModel cannot represent it, or a value is none that builds a codec.
    """
    found = fitting(config)
    values = {name: _typed(key, found[key], kind) for key, (name, kind) in SAME.items()}
    convolution = not _typed("seanet.true_skip", found["seanet.true_skip"], bool)  # else an identity
    count = _typed("rvq.n_q", found["rvq.n_q"], _size)
    return {**values, "use_conv_shortcut": convolution, "codebook_dim": values["hidden_size"],
            "chunk_length_s": None, "overlap": None, "target_bandwidths": [bandwidth(values, count)]}


def codebooks(values: Mapping[str, Any]) -> int:
    """The number of codebooks that an EncodecModel has, and that it uses unless it is asked for fewer.

    Args:
        values: of EncodecConfig.
    """
    return int(1000 * values["target_bandwidths"][-1] // _bits(values))


def bandwidth(values: Mapping[str, Any], count: int) -> float:
    """The target bandwidth, in kbit/s, of which transformers makes exactly so many codebooks.

    It rounds down twice, differently: `EncodecConfig.num_quantizers` (as `codebooks`), and
    `get_num_quantizers_for_bandwidth` of the quantizer.

    Args:
        values: of EncodecConfig.
        count: of codebooks.
    """
    bits = _bits(values)
    kbits = count * bits / 1000
    while 1000 * kbits // bits < count or 1000 * kbits / bits < count:  # by an error of rounding
        kbits = math.nextafter(kbits, math.inf)
    return kbits


def _bits(values: Mapping[str, Any]) -> int:
    """Of one codebook, in a second: `frame_rate` and `codebook_nbits` of EncodecConfig."""
    frame_rate = -(-values["sampling_rate"] // math.prod(values["upsampling_ratios"]))  # rounded up
    return int(frame_rate * math.log2(values["codebook_size"]))


def _typed(key: str, value: Any, kind: Callable[[Any], Any]) -> Any:
    try:
        typed = kind(value)
    except (TypeError, ValueError, OverflowError):
        typed = None
    if typed is None or typed != value:
        raise CheckpointError(f"{key}={value!r} of the configuration (xp.cfg) builds no codec: write the value that it "
                              "was trained with.")
    return typed
