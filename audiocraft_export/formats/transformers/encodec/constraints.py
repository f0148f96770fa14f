"""Which compression models of AudioCraft the EncodecModel of transformers can represent.

AudioCraft: `models.builders.get_compression_model`, `modules.seanet`, `modules.conv`, `quantization.vq` (1.3.0).
transformers: `models.encodec` (4.57 and 5.23).
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from ....errors import CheckpointError
from ....experiment.config import Config
from ..model_files import USE, Values

# By key of xp.cfg: the values that EncodecModel can represent, and what it is or has, for a message. Keys of
# `seanet.encoder` and `seanet.decoder` count as those of `seanet`.
ENCODEC_RULES: Mapping[str, tuple[Container[Any], str]] = {
    "compression_model": (("encodec",), "it is AudioCraft's encodec only"),
    "encodec.autoencoder": (("seanet",), "its encoder and decoder are a SEANet"),
    "encodec.quantizer": (("rvq",), "it always quantizes, with residual codebooks"),
    "encodec.channels": ((1, 2), "it encodes mono or stereo"),
    "seanet.activation": (("ELU",), "its activation is ELU"),
    "seanet.activation_params": (({}, {"alpha": 1.0}, {"inplace": False}, {"alpha": 1.0, "inplace": False}),
                                 "the alpha of its ELU is 1"),
    "seanet.norm": (("weight_norm", "time_group_norm"), "its norm is weight_norm or time_group_norm"),
    "seanet.norm_params": (({}, {"eps": 1e-5}, {"affine": True}, {"eps": 1e-5, "affine": True}),
                           "its norms have the defaults of torch"),
    "seanet.disable_norm_outer_blocks": ((0,), "it normalizes all blocks"),
    "seanet.final_activation": ((None,), "its last layer is a convolution"),
    "rvq.bins": ([1 << bits for bits in range(1, 31)], "the size of its codebooks is a power of two"),
}
AUDIOCRAFT_DEFAULTS: Mapping[str, Values] = {  # of AudioCraft's classes: all their keys
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
DECODER_DEFAULTS = {  # of `seanet.decoder`
    "final_activation": None, "final_activation_params": None, "trim_right_ratio": 1.0}


def validate(config: Config) -> Values:
    """The resolved settings of `encodec`, `seanet` and `rvq`, with AudioCraft's defaults, by dotted key.

    Raises:
        CheckpointError: if EncodecModel cannot represent them; the message names all reasons.
    """
    settings: Values = {}
    for section in ("compression_model", *AUDIOCRAFT_DEFAULTS):
        settings.update(_settings(config, section))
        _refuse([f"{key}={settings[key]!r}: {why}" for key, (allowed, why) in ENCODEC_RULES.items()
                 if key in settings and settings[key] not in allowed])  # another codec may lack the next section
    channels, trim = settings["seanet.channels"], settings["seanet.trim_right_ratio"]
    reasons = []
    if channels != settings["encodec.channels"]:
        reasons.append(f"seanet.channels={channels!r}: it has one number of channels, that of encodec.channels")
    if not settings["seanet.causal"] and trim != 1:
        reasons.append(f"seanet.decoder.trim_right_ratio={trim!r}: it is 1 without seanet.causal")
    _refuse(reasons)
    return settings


def _settings(config: Config, section: str) -> Values:
    values = config.require(section)[section]
    if section not in AUDIOCRAFT_DEFAULTS:
        return {section: values}
    _require_mapping(section, values)
    known, sides = AUDIOCRAFT_DEFAULTS[section], {}
    if section == "seanet":
        known, sides = {**known, **DECODER_DEFAULTS}, _pop_sides(values)
    merged = {**known, **values, **sides}
    _refuse([f"{section}.{key}={merged[key]!r}: AudioCraft has no such key" for key in merged if key not in known])
    return {f"{section}.{key}": value for key, value in merged.items()}


def _pop_sides(seanet: Values) -> Values:
    """Take the settings of the encoder and of the decoder out of those of the SEANet; shared ones must be equal."""
    encoder, decoder = seanet.pop("encoder", {}), seanet.pop("decoder", {})
    _require_mapping("seanet.encoder", encoder)
    _require_mapping("seanet.decoder", decoder)
    shared = {**AUDIOCRAFT_DEFAULTS["seanet"], **seanet}
    _refuse([f"seanet.encoder and seanet.decoder: its encoder and decoder have the same {key}"
             for key in shared if encoder.get(key, shared[key]) != decoder.get(key, shared[key])])
    return {**encoder, **decoder}


def _require_mapping(name: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise CheckpointError(f"`{name}` of the configuration (xp.cfg) is no mapping of keys to values, and no codec "
                              "can be built from it: write it as one.")


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise CheckpointError("EncodecModel of transformers cannot represent this codec "
                              f"({'; '.join(reasons)}): {USE}")
