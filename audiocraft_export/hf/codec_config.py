"""The configuration of an EncodecModel for a codec of AudioCraft: what both have, and what only AudioCraft has.

AudioCraft: `models.builders.get_compression_model`, `modules.seanet`, `modules.conv`, `quantization.vq` (1.3.0).
transformers: `models.encodec` (4.57 and 5.23).
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from typing import Any, Callable, NamedTuple

from ..config import Config
from ..errors import CheckpointError

Values = dict[str, Any]
USE = "use format=safetensors, or format=audiocraft."


class Limit(NamedTuple):
    """What EncodecModel asks of a key of xp.cfg.

    Args:
        key: dotted.
        fine: the values that it can represent.
        why: what it has, for a message.
    """

    key: str
    fine: Container[Any]
    why: str


LIMITS = (
    Limit("compression_model", ("encodec",), "it is AudioCraft's encodec only"),
    Limit("encodec.autoencoder", ("seanet",), "its encoder and decoder are a SEANet"),
    Limit("encodec.quantizer", ("rvq",), "it always quantizes, with residual codebooks"),
    Limit("encodec.channels", (1, 2), "it encodes mono or stereo"),
    Limit("seanet.activation", ("ELU",), "its activation is ELU"),
    Limit("seanet.activation_params", ({}, {"alpha": 1.0}, {"inplace": False}, {"alpha": 1.0, "inplace": False}),
          "the alpha of its ELU is 1"),
    Limit("seanet.norm", ("weight_norm", "time_group_norm"), "its norm is weight_norm or time_group_norm"),
    Limit("seanet.norm_params", ({}, {"eps": 1e-5}, {"affine": True}, {"eps": 1e-5, "affine": True}),
          "its norms have the defaults of torch"),
    Limit("seanet.disable_norm_outer_blocks", (0,), "it normalizes all blocks"),
    Limit("seanet.final_activation", (None,), "its last layer is a convolution"),
    Limit("rvq.bins", frozenset(1 << bits for bits in range(1, 31)), "the size of its codebooks is a power of two"),
)
DEFAULTS: Mapping[str, Values] = {  # of AudioCraft's classes, for what a configuration leaves out; all keys they have
    "encodec": {"autoencoder": None, "quantizer": None, "sample_rate": None, "channels": None, "causal": False,
                "renormalize": False, "renorm": None},
    "seanet": {"channels": 1, "dimension": 128, "n_filters": 32, "n_residual_layers": 3, "ratios": [8, 5, 4, 2],
               "activation": "ELU", "activation_params": {"alpha": 1.0}, "norm": "none", "norm_params": {},
               "kernel_size": 7, "last_kernel_size": 7, "residual_kernel_size": 3, "dilation_base": 2, "causal": False,
               "pad_mode": "reflect", "true_skip": True, "compress": 2, "lstm": 0, "disable_norm_outer_blocks": 0},
    "rvq": {"dimension": None, "n_q": 8, "q_dropout": False, "bins": 1024, "decay": 0.99, "kmeans_init": True,
            "kmeans_iters": 10, "threshold_ema_dead_code": 2, "orthogonal_reg_weight": 0.0,
            "orthogonal_reg_active_codes_only": False, "orthogonal_reg_max_codes": None},
}
DECODER = {"final_activation": None, "final_activation_params": None, "trim_right_ratio": 1.0}  # only it has them


def _size(value: Any) -> int:
    if int(value) < 1:
        raise ValueError(value)
    return int(value)


def _count(value: Any) -> int:
    return _size(value + 1) - 1


def _sizes(values: Any) -> list[int]:
    return [_size(value) for value in values]


SAME: Mapping[str, tuple[str, Callable[[Any], Any]]] = {  # by the key of xp.cfg, that of EncodecConfig, and its type
    "encodec.sample_rate": ("sampling_rate", _size), "seanet.channels": ("audio_channels", _size),
    "encodec.renormalize": ("normalize", bool), "seanet.dimension": ("hidden_size", _size),
    "seanet.n_filters": ("num_filters", _size), "seanet.n_residual_layers": ("num_residual_layers", _count),
    "seanet.ratios": ("upsampling_ratios", _sizes), "seanet.norm": ("norm_type", str),
    "seanet.kernel_size": ("kernel_size", _size), "seanet.last_kernel_size": ("last_kernel_size", _size),
    "seanet.residual_kernel_size": ("residual_kernel_size", _size),
    "seanet.dilation_base": ("dilation_growth_rate", _size), "seanet.causal": ("use_causal_conv", bool),
    "seanet.pad_mode": ("pad_mode", str), "seanet.compress": ("compress", _size),
    "seanet.lstm": ("num_lstm_layers", _count), "seanet.trim_right_ratio": ("trim_right_ratio", float),
    "rvq.bins": ("codebook_size", _size), "rvq.n_q": ("num_quantizers", _size),
    "seanet.true_skip": ("use_conv_shortcut", bool),
}


def encodec_config(config: Config) -> Values:
    """The values of EncodecConfig, with `num_quantizers`, and with `num_lstm_layers` 0 for a codec without an LSTM.

    Args:
        config: of a compression model, its `encodec`, `seanet` and `rvq` sections.

    Raises:
        CheckpointError: if it has what EncodecModel cannot represent; the message names all of it.
    """
    found: Values = {}
    for section in ("compression_model", *DEFAULTS):
        found.update(_section(config, section))
        _refuse([*_misfits(found)])  # a codec of another kind need not have the next section
    _refuse([*_inconsistent(found)])
    values = {name: _typed(key, found[key], kind) for key, (name, kind) in SAME.items()}
    values["use_conv_shortcut"] = not values["use_conv_shortcut"]  # true_skip is an identity
    return {**values, "codebook_dim": values["hidden_size"], "chunk_length_s": None, "overlap": None,
            "target_bandwidths": [bandwidth(values)]}


def bandwidth(values: Mapping[str, Any]) -> float:
    """The target bandwidth, in kbit/s, of which transformers makes exactly `num_quantizers` codebooks.

    It rounds down twice: `EncodecConfig.num_quantizers`, and `get_num_quantizers_for_bandwidth` of the quantizer.
    """
    frame_rate = math.ceil(values["sampling_rate"] / math.prod(values["upsampling_ratios"]))
    bits, count = frame_rate * int(math.log2(values["codebook_size"])), values["num_quantizers"]
    kbits = count * bits / 1000
    while kbits * 1000 // bits < count or kbits * 1000 / bits < count:  # by an error of rounding
        kbits = math.nextafter(kbits, math.inf)
    return kbits


def _section(config: Config, name: str) -> Values:
    """A section of the configuration by dotted keys; what the encoder and the decoder do not share is refused."""
    values = config.resolved(name)[name]
    if name not in DEFAULTS:
        return {name: values}
    if not isinstance(values, dict):
        raise CheckpointError(f"`{name}` of the configuration (xp.cfg) is no mapping of keys to values, and no codec "
                              "can be built from it: write it as one.")
    encoder, decoder = [values.pop(side, None) or {} if name == "seanet" else {} for side in ("encoder", "decoder")]
    shared = {**DEFAULTS[name], **values}
    _refuse([f"{name}.encoder and {name}.decoder: its encoder and decoder have the same {key}"
             for key in shared if encoder.get(key, shared[key]) != decoder.get(key, shared[key])])
    known = {**DEFAULTS[name], **DECODER} if name == "seanet" else DEFAULTS[name]
    merged = {**known, **values, **encoder, **decoder}
    _refuse([f"{name}.{key}={merged[key]!r}: AudioCraft has no such key" for key in merged if key not in known])
    return {f"{name}.{key}": value for key, value in merged.items()}


def _misfits(found: Values) -> Iterator[str]:
    for key, fine, why in LIMITS:
        if key in found and not _is_among(found[key], fine):
            yield f"{key}={found[key]!r}: {why}"


def _is_among(value: Any, fine: Container[Any]) -> bool:
    try:
        return value in fine
    except TypeError:  # a list, in a set
        return False


def _inconsistent(found: Values) -> Iterator[str]:
    if found["seanet.channels"] != found["encodec.channels"]:
        yield f"seanet.channels={found['seanet.channels']!r}: it has one number of channels, that of encodec.channels"
    if not found["seanet.causal"] and found["seanet.trim_right_ratio"] != 1:
        yield f"seanet.decoder.trim_right_ratio={found['seanet.trim_right_ratio']!r}: it is 1 without seanet.causal"


def _typed(key: str, value: Any, kind: Callable[[Any], Any]) -> Any:
    try:
        typed = kind(value)
    except (TypeError, ValueError, OverflowError):
        typed = None
    if typed is None or typed != value:
        raise CheckpointError(f"{key}={value!r} of the configuration (xp.cfg) builds no codec: write the value that it "
                              "was trained with.")
    return typed


def _refuse(reasons: list[str]) -> None:
    if reasons:
        raise CheckpointError("EncodecModel of transformers cannot represent this codec "
                              f"({'; '.join(reasons)}): {USE}")
