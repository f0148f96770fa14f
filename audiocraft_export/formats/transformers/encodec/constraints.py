"""What a codec of AudioCraft may be if EncodecModel of transformers is to do the same.

AudioCraft: `models.builders.get_compression_model`, `modules.seanet`, `modules.conv`, `quantization.vq` (1.3.0).
transformers: `models.encodec` (4.57 and 5.23).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ....errors import CheckpointError
from ....experiment.config import Config
from ..model_files import USE

Values = dict[str, Any]


class Limit(NamedTuple):
    """What EncodecModel asks of a key of xp.cfg.

    Args:
        key: dotted; those of `seanet.encoder` and `seanet.decoder` count as keys of `seanet`.
        fine: the values that it can represent.
        why: what it is or has, for a message.
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
    Limit("rvq.bins", tuple(1 << bits for bits in range(1, 31)), "the size of its codebooks is a power of two"),
)
DEFAULTS: Mapping[str, Values] = {  # of AudioCraft's classes: all keys that they have, and what one left out stands for
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


def fitting(config: Config) -> Values:
    """What a codec is built from, by dotted keys, resolved: all that EncodecModel can represent.

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
    return found


def _section(config: Config, name: str) -> Values:
    values = config.require(name)[name]
    if name not in DEFAULTS:
        return {name: values}
    _require_mapping(name, values)
    encoder, decoder = [values.pop(side, {}) if name == "seanet" else {} for side in ("encoder", "decoder")]
    _require_mapping(f"{name}.encoder", encoder)
    _require_mapping(f"{name}.decoder", decoder)
    shared = {**DEFAULTS[name], **values}
    _refuse([f"{name}.encoder and {name}.decoder: its encoder and decoder have the same {key}"
             for key in shared if encoder.get(key, shared[key]) != decoder.get(key, shared[key])])
    known = {**DEFAULTS[name], **DECODER} if name == "seanet" else DEFAULTS[name]
    merged = {**known, **values, **encoder, **decoder}
    _refuse([f"{name}.{key}={merged[key]!r}: AudioCraft has no such key" for key in merged if key not in known])
    return {f"{name}.{key}": value for key, value in merged.items()}


def _misfits(found: Values) -> Iterator[str]:
    for key, fine, why in LIMITS:
        if key in found and found[key] not in fine:
            yield f"{key}={found[key]!r}: {why}"


def _inconsistent(found: Values) -> Iterator[str]:
    if found["seanet.channels"] != found["encodec.channels"]:
        yield f"seanet.channels={found['seanet.channels']!r}: it has one number of channels, that of encodec.channels"
    if not found["seanet.causal"] and found["seanet.trim_right_ratio"] != 1:
        yield f"seanet.decoder.trim_right_ratio={found['seanet.trim_right_ratio']!r}: it is 1 without seanet.causal"


def _require_mapping(name: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise CheckpointError(f"`{name}` of the configuration (xp.cfg) is no mapping of keys to values, and no codec "
                              "can be built from it: write it as one.")


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise CheckpointError("EncodecModel of transformers cannot represent this codec "
                              f"({'; '.join(reasons)}): {USE}")
