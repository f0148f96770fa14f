"""What transformers cannot represent of AudioCraft's language models, as data, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

SOLVERS = {
    "magnet": "transformers has no MAGNeT, whose attention is not causal and which predicts masked tokens",
    "audio_magnet": "transformers has no MAGNeT, whose attention is not causal and which predicts masked tokens",
    "jasco": "transformers has no JASCO, a flow matching model of chords, drums and melody",
    "diffusion": "transformers has no MultiBand Diffusion",
    "watermarking": "transformers has no AudioSeal",
}


@dataclass(frozen=True)
class Rule:
    """A setting of AudioCraft that transformers' MusicGen takes for granted.

    Args:
        key: of xp.cfg.
        fine: the values that transformers can represent.
        default: of AudioCraft, where the key is missing.
        why: what transformers does instead.
    """

    key: str
    fine: tuple[Any, ...]
    default: Any
    why: str


class Size(NamedTuple):
    """A whole number from 1 on, that transformers is given.

    Args:
        key: of xp.cfg.
        most: larger than in any model.
        default: of AudioCraft, where the key is missing.
    """

    key: str
    most: int
    default: Optional[int] = None


NO_BIAS = "the layers of transformers' MusicGen have no bias"
SINES = "transformers' MusicGen knows positions by sines of one wave length table only"
ATTENTION = "transformers' MusicGen attends to all of the past with plain queries, keys and values"
PATTERN = "transformers' MusicGen delays its codebooks from the first step on"
LANGUAGE_MODELS = (  # audiocraft.models.lm.LMModel and audiocraft.modules.transformer.StreamingTransformer
    Rule("lm_model", ("transformer_lm",), None, "transformers has AudioCraft's causal language model only"),
    Rule("transformer_lm.norm", ("layer_norm",), "layer_norm", "transformers' MusicGen has layer norms only"),
    Rule("transformer_lm.norm_first", (True,), False, "the layers of transformers' MusicGen normalize first"),
    Rule("transformer_lm.activation", ("gelu", "relu"), "relu",
         "transformers' MusicGen has no gated unit between its feed-forward layers"),
    Rule("transformer_lm.causal", (True,), False, "transformers' MusicGen is causal"),
    Rule("transformer_lm.bias_attn", (False,), True, NO_BIAS),
    Rule("transformer_lm.bias_ff", (False,), True, NO_BIAS),
    Rule("transformer_lm.bias_proj", (False,), True, NO_BIAS),
    Rule("transformer_lm.layer_scale", (None,), None, "transformers' MusicGen does not scale its layers"),
    Rule("transformer_lm.positional_embedding", ("sin",), "sin", SINES),
    Rule("transformer_lm.positional_scale", (1,), 1, SINES),
    Rule("transformer_lm.max_period", (10000,), 10000, SINES),
    Rule("transformer_lm.xpos", (False,), False, SINES),
    Rule("transformer_lm.past_context", (None,), None, ATTENTION),
    Rule("transformer_lm.qk_layer_norm", (False,), False, ATTENTION),
    Rule("transformer_lm.qk_layer_norm_cross", (False,), False, ATTENTION),
    Rule("transformer_lm.kv_repeat", (1,), 1, ATTENTION),
    Rule("fuser.sum", ([],), [], "transformers' MusicGen adds no condition to its input"),
    Rule("fuser.input_interpolate", ([],), [], "transformers' MusicGen adds no condition to its input"),
    Rule("fuser.cross_attention_pos_emb", (False,), False, "transformers' MusicGen gives its conditions no position"),
    Rule("interleave_stereo_codebooks.per_timestep", (False,), False,
         "transformers' MusicGen has the codebooks of both channels in the same step"),
    Rule("codebooks_pattern.delay.flatten_first", (0,), 0, PATTERN),
    Rule("codebooks_pattern.delay.empty_initial", (0,), 0, PATTERN),
    Rule("codebooks_pattern.parallel.empty_initial", (0,), 0, PATTERN),
)
SIZES = (  # audiocraft.models.lm.LMModel
    Size("transformer_lm.n_q", 1 << 8, 8), Size("transformer_lm.card", 1 << 24, 1024),
    Size("transformer_lm.dim", 1 << 20, 128), Size("transformer_lm.num_heads", 1 << 10, 8),
    Size("transformer_lm.num_layers", 1 << 10),
)
TEXT = (  # audiocraft.modules.conditioners.T5Conditioner; {} is the name of the conditioner
    Rule("conditioners.{}.t5.normalize_text", (False,), False,
         "the tokenizer of transformers removes no stop words and looks up no lemmas"),
)
CHROMA = "the feature extractor of transformers' MusicGen Melody takes the strongest of the chroma of one window"
MELODY = (  # audiocraft.modules.conditioners.ChromaStemConditioner, audiocraft.modules.chroma.ChromaExtractor
    Rule("conditioners.{}.chroma_stem.argmax", (True,), False, CHROMA),
    Rule("conditioners.{}.chroma_stem.nfft", (None,), None, CHROMA),
    Rule("conditioners.{}.chroma_stem.winlen", (None,), None, CHROMA),
    Rule("conditioners.{}.chroma_stem.norm", (None,), None, CHROMA),
    Rule("transformer_lm.two_step_cfg", (False,), False,
         "transformers pads the text that it leaves out to the length of the text it is guided by"),
)
MELODY_SIZES = (
    Size("conditioners.{}.chroma_stem.sample_rate", 1 << 20), Size("conditioners.{}.chroma_stem.n_chroma", 1 << 12),
    Size("conditioners.{}.chroma_stem.radix2_exp", 20), Size("conditioners.{}.chroma_stem.winhop", 1 << 20, 1),
)
CONDITIONERS = {  # those that no class of transformers has beside a MusicGen
    "clap": "transformers' MusicGen has no CLAP",
    "style": "transformers' MusicGen has no style conditioner",
}
HARMLESS = {  # what changes the training, the speed or the names of the weights, or what the configuration takes over
    "transformer_lm": {"dim", "num_heads", "num_layers", "hidden_scale", "n_q", "card", "dropout", "attention_dropout",
                       "emb_lr", "lr", "weight_decay", "custom", "memory_efficient", "attention_as_float32",
                       "checkpointing", "weight_init", "depthwise_init", "zero_bias_init", "cross_attention",
                       "two_step_cfg", "q_modeling"},
    "fuser": {"cross", "prepend", "cross_attention_pos_emb_scale"},
    "codebooks_pattern.delay": {"delays"},
    "conditioners.{}.t5": {"name", "finetune", "word_dropout", "autocast_dtype"},
    "conditioners.{}.chroma_stem": {"sample_rate", "n_chroma", "radix2_exp", "winhop", "match_len_on_eval", "eval_wavs",
                                    "n_eval_wavs", "cache_path"},
}
