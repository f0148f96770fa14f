"""Which language models of AudioCraft the MusicGen of transformers can represent."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, Optional

from ....errors import CheckpointError
from ....experiment.config import Config
from ....release.families.registry import LANGUAGE_MODEL_FAMILY, Family, describe_model, solver_of
from ..model_files import USE

SOLVERS = {  # that transformers has no class for
    "magnet": "transformers has no MAGNeT, whose attention is not causal and which predicts masked tokens",
    "audio_magnet": "transformers has no MAGNeT, whose attention is not causal and which predicts masked tokens",
    "jasco": "transformers has no JASCO, a flow matching model of chords, drums and melody",
    "diffusion": "transformers has no MultiBand Diffusion",
    "watermarking": "transformers has no AudioSeal",
}


class Rule(NamedTuple):
    """The values of a setting that transformers' MusicGen can represent."""

    key: str  # of xp.cfg; `{}` is the name of the conditioner
    allowed: tuple[Any, ...]
    default: Any  # of AudioCraft, where the key is missing
    why: str  # what transformers does instead, for a message


class Settings(NamedTuple):
    """All settings that are known of a decoder, or of a conditioner."""

    rules: tuple[Rule, ...]
    sizes: Mapping[str, tuple[int, Optional[int]]]  # of whole numbers from 1 on: a maximum, and the default
    harmless: Mapping[str, Collection[str]]  # options by section: of training, speed or names, and converted ones


def _fixed(why: str, values: Mapping[str, Any]) -> Iterator[Rule]:
    """Rules for settings that transformers has the default of AudioCraft for, and nothing else."""
    return (Rule(key, (value,), value, why) for key, value in values.items())


DECODER_SETTINGS = Settings(rules=(  # audiocraft: models.lm.LMModel, modules.transformer.StreamingTransformer
    Rule("lm_model", ("transformer_lm",), None, "transformers has AudioCraft's causal language model only"),
    Rule("transformer_lm.norm", ("layer_norm",), "layer_norm", "transformers' MusicGen has layer norms only"),
    Rule("transformer_lm.norm_first", (True,), False, "the layers of transformers' MusicGen normalize first"),
    Rule("transformer_lm.activation", ("gelu", "relu"), "relu",
         "transformers' MusicGen has no gated unit between its feed-forward layers"),
    Rule("transformer_lm.causal", (True,), False, "transformers' MusicGen is causal"),
    *(Rule(f"transformer_lm.{key}", (False,), True, "the layers of transformers' MusicGen have no bias")
      for key in ("bias_attn", "bias_ff", "bias_proj")),
    Rule("transformer_lm.layer_scale", (None,), None, "transformers' MusicGen does not scale its layers"),
    *_fixed("transformers' MusicGen knows positions by sines of one wave length table only", {
        "transformer_lm.positional_embedding": "sin", "transformer_lm.positional_scale": 1,
        "transformer_lm.max_period": 10000, "transformer_lm.xpos": False}),
    *_fixed("transformers' MusicGen attends to all of the past with plain queries, keys and values", {
        "transformer_lm.past_context": None, "transformer_lm.qk_layer_norm": False,
        "transformer_lm.qk_layer_norm_cross": False, "transformer_lm.kv_repeat": 1}),
    *_fixed("transformers' MusicGen adds no condition to its input", {"fuser.sum": [], "fuser.input_interpolate": []}),
    Rule("fuser.cross_attention_pos_emb", (False,), False, "transformers' MusicGen gives its conditions no position"),
    Rule("interleave_stereo_codebooks.per_timestep", (False,), False,
         "transformers' MusicGen has the codebooks of both channels in the same step"),
    *_fixed("transformers' MusicGen delays its codebooks from the first step on", {
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
OF_CONDITIONERS = {  # their harmless options
    "conditioners.{}.t5": {"name", "finetune", "word_dropout", "autocast_dtype"},
    "conditioners.{}.chroma_stem": {"sample_rate", "n_chroma", "radix2_exp", "winhop", "match_len_on_eval", "eval_wavs",
                                    "n_eval_wavs", "cache_path"},
}
TEXT_SETTINGS = Settings(rules=(  # audiocraft.modules.conditioners.T5Conditioner
    Rule("conditioners.{}.t5.normalize_text", (False,), False,
         "the tokenizer of transformers removes no stop words and looks up no lemmas"),
), sizes={}, harmless=OF_CONDITIONERS)
CHROMA = "the feature extractor of transformers' MusicGen Melody takes the strongest of the chroma of one window"
MELODY_SETTINGS = Settings(rules=(  # audiocraft.modules: conditioners.ChromaStemConditioner, chroma.ChromaExtractor
    Rule("conditioners.{}.chroma_stem.argmax", (True,), False, CHROMA),
    *_fixed(CHROMA, {"conditioners.{}.chroma_stem.nfft": None, "conditioners.{}.chroma_stem.winlen": None,
                     "conditioners.{}.chroma_stem.norm": None}),
    Rule("transformer_lm.two_step_cfg", (False,), False,
         "transformers pads the text that it leaves out to the length of the text it is guided by"),
), sizes={
    "conditioners.{}.chroma_stem.sample_rate": (1 << 20, None), "conditioners.{}.chroma_stem.n_chroma": (1 << 12, None),
    "conditioners.{}.chroma_stem.radix2_exp": (20, None), "conditioners.{}.chroma_stem.winhop": (1 << 20, 1),
}, harmless=OF_CONDITIONERS)


def refuse_family(config: Config, family: Family) -> None:
    """Refuse models that transformers has no class for.

    Raises:
        CheckpointError: if it has none; the message says why, and which format works.
    """
    if family is LANGUAGE_MODEL_FAMILY:
        return
    why = SOLVERS.get(str(solver_of(config)), "transformers has the models of AudioCraft's solvers only")
    raise CheckpointError(f"{describe_model(config).capitalize()} cannot be released for transformers ({why}): {USE}")


def refuse_settings(config: Config, known: Settings, name: str = "") -> None:
    """Refuse settings that transformers would silently replace, and unknown ones; of a conditioner by its name.

    Raises:
        CheckpointError: if a setting cannot be represented.
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
                raise refusal(key, value, "nobody knows what this option changes")
    for key, (maximum, default) in known.sizes.items():
        value = config.get(key.format(name), default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= maximum:
            raise refusal(key.format(name), value, f"it is no whole number from 1 to {maximum}")


def check_number(config: Config, key: str, minimum: float, maximum: float, default: Any = None) -> float:
    """A number of the configuration.

    Raises:
        CheckpointError: if the value is not a number, or out of range.
    """
    value = config.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise refusal(key, value, f"transformers needs a number from {minimum:g} to {maximum:g} there")
    return value


def refusal(key: str, value: Any, why: str) -> CheckpointError:
    """An error about a setting."""
    return CheckpointError(f"{key}={value} of the configuration (xp.cfg) cannot be released for transformers ({why}): "
                           f"{USE}")
