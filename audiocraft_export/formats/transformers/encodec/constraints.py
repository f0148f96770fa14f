"""Check that the EncodecModel of transformers supports a compression model of AudioCraft.

Sources:
AudioCraft: `models.builders.get_compression_model`, `modules.seanet`, `modules.conv`, `quantization.vq` (1.3.0).
transformers: `models.encodec` (4.57 and 5.23).
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from ....errors import CheckpointError
from ....experiment.config import Config
from ..model_files import USE, Values

# By key of xp.cfg: the values that EncodecModel supports, and a message for other values. Keys of `seanet.encoder` and
# `seanet.decoder` are treated as keys of `seanet`.
ENCODEC_RULES: Mapping[str, tuple[Container[Any], str]] = {
    "compression_model": (("encodec",), "only encodec is supported"),
    "encodec.autoencoder": (("seanet",), "only seanet is supported"),
    "encodec.quantizer": (("rvq",), "only residual vector quantization (rvq) is supported"),
    "encodec.channels": ((1, 2), "only mono and stereo are supported"),
    "seanet.activation": (("ELU",), "only ELU is supported"),
    "seanet.activation_params": (({}, {"alpha": 1.0}, {"inplace": False}, {"alpha": 1.0, "inplace": False}),
                                 "only ELU with alpha 1 is supported"),
    "seanet.norm": (("weight_norm", "time_group_norm"), "only weight_norm and time_group_norm are supported"),
    "seanet.norm_params": (({}, {"eps": 1e-5}, {"affine": True}, {"eps": 1e-5, "affine": True}),
                           "only the defaults of torch are supported"),
    "seanet.disable_norm_outer_blocks": ((0,), "only 0 is supported"),
    "seanet.final_activation": ((None,), "the last layer must be a convolution"),
    "rvq.bins": ([1 << bits for bits in range(1, 31)], "the size of a codebook must be a power of two"),
}
AUDIOCRAFT_DEFAULTS: Mapping[str, Values] = {  # all keys of AudioCraft's classes
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
DECODER_DEFAULTS = {  # further keys of `seanet.decoder`
    "final_activation": None, "final_activation_params": None, "trim_right_ratio": 1.0}


def validate(config: Config) -> Values:
    """Return the resolved settings of `encodec`, `seanet` and `rvq`, with AudioCraft's defaults, by dotted key.

    Raises:
        CheckpointError: if EncodecModel does not support them; the message has all reasons.
    """
    settings: Values = {}
    for section in ("compression_model", *AUDIOCRAFT_DEFAULTS):
        settings.update(_settings(config, section))
        _refuse([f"{key}={settings[key]!r}: {why}" for key, (allowed, why) in ENCODEC_RULES.items()
                 if key in settings and settings[key] not in allowed])  # other codecs may not have the next section
    channels, trim = settings["seanet.channels"], settings["seanet.trim_right_ratio"]
    reasons = []
    if channels != settings["encodec.channels"]:
        reasons.append(f"seanet.channels={channels!r}: must be equal to encodec.channels")
    if not settings["seanet.causal"] and trim != 1:
        reasons.append(f"seanet.decoder.trim_right_ratio={trim!r}: must be 1 without seanet.causal")
    _refuse(reasons)
    return settings


def _settings(config: Config, section: str) -> Values:
    """Return the settings of a section by dotted key, completed with AudioCraft's defaults."""
    values = config.require(section)[section]
    if section not in AUDIOCRAFT_DEFAULTS:
        return {section: values}
    _require_mapping(section, values)
    known, sides = AUDIOCRAFT_DEFAULTS[section], {}
    if section == "seanet":
        known, sides = {**known, **DECODER_DEFAULTS}, _pop_sides(values)
    merged = {**known, **values, **sides}
    _refuse([f"{section}.{key}={merged[key]!r}: unknown to AudioCraft" for key in merged if key not in known])
    return {f"{section}.{key}": value for key, value in merged.items()}


def _pop_sides(seanet: Values) -> Values:
    """Move the encoder and decoder settings out of the SEANet settings; shared settings must be equal."""
    encoder, decoder = seanet.pop("encoder", {}), seanet.pop("decoder", {})
    _require_mapping("seanet.encoder", encoder)
    _require_mapping("seanet.decoder", decoder)
    shared = {**AUDIOCRAFT_DEFAULTS["seanet"], **seanet}
    _refuse([f"seanet.encoder and seanet.decoder: must have the same {key}"
             for key in shared if encoder.get(key, shared[key]) != decoder.get(key, shared[key])])
    return {**encoder, **decoder}


def _require_mapping(name: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise CheckpointError("invalid-config", f"`{name}` of the configuration (xp.cfg) must be a mapping")


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise CheckpointError("unsupported-by-transformers", "EncodecModel of transformers does not support this codec "
                              f"({'; '.join(reasons)})", USE)
