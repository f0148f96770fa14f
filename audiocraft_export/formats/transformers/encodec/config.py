"""Convert the configuration of AudioCraft's compression model to EncodecConfig."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Callable

from ....errors import CheckpointError
from ....experiment.config import Config
from ..model_files import Values
from .constraints import validate


def _to_size(value: Any) -> int:
    """Convert to a positive 32-bit integer."""
    if not 1 <= int(value) < 1 << 31:
        raise ValueError(value)
    return int(value)


def _to_count(value: Any) -> int:
    """Convert to a 32-bit integer that may be zero."""
    return _to_size(value + 1) - 1


SAME: Mapping[str, tuple[str, Callable[[Any], Any]]] = {  # key of xp.cfg: key of EncodecConfig, and its type
    "encodec.sample_rate": ("sampling_rate", _to_size),
    "encodec.channels": ("audio_channels", _to_size),
    "encodec.renormalize": ("normalize", bool),
    "seanet.dimension": ("hidden_size", _to_size),
    "seanet.n_filters": ("num_filters", _to_size),
    "seanet.n_residual_layers": ("num_residual_layers", _to_count),
    "seanet.ratios": ("upsampling_ratios", lambda values: [*map(_to_size, values)]),
    "seanet.norm": ("norm_type", str),
    "seanet.kernel_size": ("kernel_size", _to_size),
    "seanet.last_kernel_size": ("last_kernel_size", _to_size),
    "seanet.residual_kernel_size": ("residual_kernel_size", _to_size),
    "seanet.dilation_base": ("dilation_growth_rate", _to_size),
    "seanet.causal": ("use_causal_conv", bool),
    "seanet.pad_mode": ("pad_mode", str),
    "seanet.compress": ("compress", _to_size),
    "seanet.lstm": ("num_lstm_layers", _to_count),
    "seanet.trim_right_ratio": ("trim_right_ratio", float),
    "rvq.bins": ("codebook_size", _to_size),
}


def encodec_config(config: Config) -> Values:
    """Return the values of EncodecConfig for a compression model; `num_lstm_layers` is 0 if it has no LSTM.

    Raises:
        CheckpointError: if EncodecModel does not support the model, or a value is invalid.
    """
    settings = validate(config)
    values = {name: _convert(settings, key, kind) for key, (name, kind) in SAME.items()}
    count = _convert(settings, "rvq.n_q", _to_size)
    return {**values, "use_conv_shortcut": not _convert(settings, "seanet.true_skip", bool),
            "codebook_dim": values["hidden_size"], "chunk_length_s": None, "overlap": None,
            "target_bandwidths": [bandwidth(values, count)]}


def codebooks(values: Mapping[str, Any], index: int = -1) -> int:
    """Return the number of codebooks for a target bandwidth in EncodecConfig; the last one uses all codebooks."""
    return int(1000 * values["target_bandwidths"][index] // bits_per_second(values))


def bandwidth(values: Mapping[str, Any], count: int) -> float:
    """Return the target bandwidth in kbit/s that transformers converts to exactly this number of codebooks.

    transformers rounds down in two different ways: in `EncodecConfig.num_quantizers` (as `codebooks`), and in
    `get_num_quantizers_for_bandwidth` of the quantizer.
    """
    bits = bits_per_second(values)
    kbits = count * bits / 1000
    while 1000 * kbits // bits < count or 1000 * kbits / bits < count:  # corrects rounding errors
        kbits = math.nextafter(kbits, math.inf)
    return kbits


def bits_per_second(values: Mapping[str, Any]) -> float:
    """Return the bandwidth of a codebook: `frame_rate` (rounded up) times `codebook_nbits` of EncodecConfig."""
    frame_rate: int = -(-values["sampling_rate"] // math.prod(values["upsampling_ratios"]))
    return frame_rate * math.log2(values["codebook_size"])


def _convert(settings: Values, key: str, kind: Callable[[Any], Any]) -> Any:
    """Return a setting converted to its type; raise an error if the conversion changes the value."""
    with suppress(TypeError, ValueError, OverflowError):
        converted = kind(settings[key])
        if converted == settings[key]:
            return converted
    raise CheckpointError("invalid-config",
                          f"Invalid value {settings[key]!r} for {key} in the configuration (xp.cfg) of the codec",
                          "set the value that the codec was trained with")
