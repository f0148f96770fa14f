"""Check that the MusicGen of transformers supports a language model of AudioCraft."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, Optional

from ....errors import CheckpointError
from ....experiment.config import Config
from ....release.families.registry import LANGUAGE_MODEL_FAMILY, Family, describe_model, solver_of
from ..model_files import USE

_MAGNET = "transformers has no MAGNeT (non-causal attention, predicts masked tokens)"
SOLVERS = {  # solvers whose models have no class in transformers, with the reason
    "magnet": _MAGNET,
    "audio_magnet": _MAGNET,
    "jasco": "transformers has no JASCO (flow matching)",
    "diffusion": "transformers has no MultiBand Diffusion",
    "watermarking": "transformers has no AudioSeal",
}


class Rule(NamedTuple):
    """The values of a setting that MusicGen of transformers supports."""

    key: str  # dotted key in xp.cfg; `{}` is the name of the conditioner
    allowed: tuple[Any, ...]
    default: Any  # AudioCraft's default, if the key is missing
    why: str  # the constraint, for a message


class Settings(NamedTuple):
    """The known settings of a decoder or a conditioner."""

    rules: tuple[Rule, ...]
    sizes: Mapping[str, tuple[int, Optional[int]]]  # positive integers by key: maximum and default
    harmless: Mapping[str, Collection[str]]  # options that may have any value, by section


def _fixed(why: str, values: Mapping[str, Any]) -> Iterator[Rule]:
    """Return rules for settings of which only AudioCraft's default is supported."""
    return (Rule(key, (value,), value, why) for key, value in values.items())


DECODER_SETTINGS = Settings(rules=(  # audiocraft: models.lm.LMModel, modules.transformer.StreamingTransformer
    Rule("lm_model", ("transformer_lm",), None, "only transformer_lm is supported"),
    Rule("transformer_lm.norm", ("layer_norm",), "layer_norm", "only layer_norm is supported"),
    Rule("transformer_lm.norm_first", (True,), False, "the layers must normalize first"),
    Rule("transformer_lm.activation", ("gelu", "relu"), "relu",
         "only gelu and relu are supported"),
    Rule("transformer_lm.causal", (True,), False, "the attention must be causal"),
    *(Rule(f"transformer_lm.{key}", (False,), True, "biases in the layers are not supported")
      for key in ("bias_attn", "bias_ff", "bias_proj")),
    Rule("transformer_lm.layer_scale", (None,), None, "layer scale is not supported"),
    *_fixed("only sinusoidal positions with the default scale and period are supported", {
        "transformer_lm.positional_embedding": "sin", "transformer_lm.positional_scale": 1,
        "transformer_lm.max_period": 10000, "transformer_lm.xpos": False}),
    *_fixed("only plain attention to the whole past is supported", {
        "transformer_lm.past_context": None, "transformer_lm.qk_layer_norm": False,
        "transformer_lm.qk_layer_norm_cross": False, "transformer_lm.kv_repeat": 1}),
    *_fixed("adding conditions to the input is not supported", {"fuser.sum": [], "fuser.input_interpolate": []}),
    Rule("fuser.cross_attention_pos_emb", (False,), False, "positions of conditions are not supported"),
    Rule("interleave_stereo_codebooks.per_timestep", (False,), False,
         "both channels must have their codebooks in the same step"),
    *_fixed("codebooks must be delayed from the first step on", {
        "codebooks_pattern.delay.flatten_first": 0, "codebooks_pattern.delay.empty_initial": 0,
        "codebooks_pattern.parallel.empty_initial": 0}),
), sizes={
    "transformer_lm.n_q": (1 << 8, 8), "transformer_lm.card": (1 << 24, 1024), "transformer_lm.dim": (1 << 20, 128),
    "transformer_lm.num_heads": (1 << 10, 8), "transformer_lm.num_layers": (1 << 10, None),
}, harmless={
    "transformer_lm": {"dim", "num_heads", "num_layers", "hidden_scale", "n_q", "card", "dropout", "attention_dropout",
                       "emb_lr", "lr", "weight_decay", "custom", "memory_efficient", "attention_as_float32",
                       "checkpointing", "weight_init", "depthwise_init", "zero_bias_init", "cross_attention",
                       "two_step_cfg", "q_modeling"},
    "fuser": {"cross", "prepend", "cross_attention_pos_emb_scale"},
    "codebooks_pattern.delay": {"delays"},
})
OF_CONDITIONERS = {  # harmless options of conditioners
    "conditioners.{}.t5": {"name", "finetune", "word_dropout", "autocast_dtype"},
    "conditioners.{}.chroma_stem": {"sample_rate", "n_chroma", "radix2_exp", "winhop", "match_len_on_eval", "eval_wavs",
                                    "n_eval_wavs", "cache_path"},
}
TEXT_SETTINGS = Settings(rules=(  # audiocraft.modules.conditioners.T5Conditioner
    Rule("conditioners.{}.t5.normalize_text", (False,), False,
         "the tokenizer does not remove stop words or lemmatize"),
), sizes={}, harmless=OF_CONDITIONERS)
CHROMA = "the melody must be the strongest chroma bin of each window"
MELODY_SETTINGS = Settings(rules=(  # audiocraft.modules: conditioners.ChromaStemConditioner, chroma.ChromaExtractor
    Rule("conditioners.{}.chroma_stem.argmax", (True,), False, CHROMA),
    *_fixed(CHROMA, {"conditioners.{}.chroma_stem.nfft": None, "conditioners.{}.chroma_stem.winlen": None,
                     "conditioners.{}.chroma_stem.norm": None}),
    Rule("transformer_lm.two_step_cfg", (False,), False,
         "the empty text is padded to the length of the prompt"),
), sizes={
    "conditioners.{}.chroma_stem.sample_rate": (1 << 20, None), "conditioners.{}.chroma_stem.n_chroma": (1 << 12, None),
    "conditioners.{}.chroma_stem.radix2_exp": (20, None), "conditioners.{}.chroma_stem.winhop": (1 << 20, 1),
}, harmless=OF_CONDITIONERS)


def refuse_family(config: Config, family: Family) -> None:
    """Check that transformers has a class for the models of a family.

    Args:
        config: the configuration of the training.
        family: the family of the model.

    Raises:
        CheckpointError: if transformers has no such class.
    """
    if family is LANGUAGE_MODEL_FAMILY:
        return
    why = SOLVERS.get(str(solver_of(config)), "only models of AudioCraft's solvers are supported")
    raise CheckpointError("unsupported-by-transformers",
                          f"{describe_model(config).capitalize()} cannot be converted to transformers: {why}", USE)


def refuse_settings(config: Config, known: Settings, name: str = "") -> None:
    """Check that transformers supports all settings, and that all of them are known.

    Args:
        config: the configuration of the training.
        known: the known settings.
        name: the name of the conditioner that they belong to; empty for the decoder.

    Raises:
        CheckpointError: if a setting is unknown, or its value is not supported.
    """
    for rule in known.rules:
        value = config.get(rule.key.format(name), rule.default)
        if value not in rule.allowed:
            raise refusal(rule.key.format(name), value, rule.why)
    keys = {rule.key.format(name) for rule in known.rules}
    for template, harmless in known.harmless.items():
        section = template.format(name)
        options = config.get(section, {})
        for option in options if isinstance(options, Mapping) else ():
            key = f"{section}.{option}"
            value = config.get(key)
            if str(option) not in harmless and key not in keys and value not in (None, False):
                raise refusal(key, value, "unknown option")
    for key, (maximum, default) in known.sizes.items():
        value = config.get(key.format(name), default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= maximum:
            raise refusal(key.format(name), value, f"expected an integer from 1 to {maximum}")


def check_number(config: Config, key: str, minimum: float, maximum: float, default: Any = None) -> float:
    """Return a number of the configuration.

    Raises:
        CheckpointError: if the value is not a number from `minimum` to `maximum`.
    """
    value = config.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise refusal(key, value, f"expected a number from {minimum:g} to {maximum:g}")
    return value


def refusal(key: str, value: Any, why: str) -> CheckpointError:
    """Return the error for a setting that MusicGen of transformers does not support."""
    return CheckpointError("unsupported-by-transformers",
                           f"{key}={value} is not supported by MusicGen of transformers: {why}", USE)
