"""The configuration of a MusicGen of transformers: of its decoder, and of what it generates."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log2, nextafter, prod
from typing import Any, Optional

from ....experiment.config import Config
from .architecture import DECODER_ALONE, Layout, is_stereo
from .constraints import number

POSITIONS = 2048  # of the table that transformers makes at first; it grows
TOP_K = 250  # audiocraft.models.MusicGen.set_generation_params
Values = dict[str, Any]


def decoder_config(config: Config) -> Values:
    """The values of MusicgenDecoderConfig and MusicgenMelodyDecoderConfig.

    Args:
        config: of the experiment.
    """
    size, card = _lm(config, "dim", 128), _lm(config, "card", 1024)
    dropout = _lm(config, "dropout", 0.1)
    attention = config.get("transformer_lm.attention_dropout")
    return {
        "vocab_size": card, "hidden_size": size, "ffn_dim": int(_lm(config, "hidden_scale", 4) * size),
        "num_hidden_layers": _lm(config, "num_layers", None), "num_attention_heads": _lm(config, "num_heads", 8),
        "num_codebooks": _lm(config, "n_q", 8), "audio_channels": 2 if is_stereo(config) else 1,
        "activation_function": _lm(config, "activation", "relu"), "max_position_embeddings": POSITIONS,
        "dropout": dropout, "attention_dropout": dropout if attention is None else attention,
        "activation_dropout": dropout, "layerdrop": 0.0, "scale_embedding": False, "tie_word_embeddings": False,
        **special_tokens(config)}


def generation_config(config: Config, layout: Layout, codec: Optional[Mapping[str, Any]]) -> Values:
    """The values of GenerationConfig: what AudioCraft's MusicGen does by itself, for as long as it was trained.

    Args:
        config: of the experiment.
        layout: of its model.
        codec: the values of EncodecConfig, which say how many steps a second has.

    Raises:
        CheckpointError: if the configuration does not say for how long.
    """
    values: Values = {"do_sample": True, "top_k": TOP_K, **special_tokens(config)}
    if layout.architecture == DECODER_ALONE:
        values["num_return_sequences"] = 1  # MusicgenForCausalLM.generate of transformers 5 fills in no defaults
        values["use_cache"] = not layout.cross  # it would put both attentions in the same cache
    if layout.architecture != DECODER_ALONE:
        values["guidance_scale"] = float(config.get("classifier_free_guidance.inference_coef", 1.0))
    if codec:
        seconds = number(config, "dataset.segment_duration", 0.1, 1 << 16)
        values["max_length"] = int(seconds * frame_rate(codec)) + codebooks_a_channel(config)
    return values


def special_tokens(config: Config) -> Values:
    """The one special token of AudioCraft, `card`, under all its names in transformers."""
    card = _lm(config, "card", 1024)
    return {"pad_token_id": card, "bos_token_id": card, "decoder_start_token_id": card}


def frame_rate(codec: Mapping[str, Any]) -> int:
    """Steps a second of a codec, as AudioCraft counts them.

    Args:
        codec: the values of EncodecConfig.
    """
    rate: int = codec["sampling_rate"] // prod(codec["upsampling_ratios"])
    return rate


def for_prompts(codec: Mapping[str, Any], config: Config) -> Values:
    """The codec of a language model that has fewer codebooks: what music begins with is encoded in as many.

    Args:
        codec: the values of EncodecConfig, which encodes with the first of its bandwidths.
        config: of the experiment.
    """
    if codebooks_a_channel(config) >= codebooks(codec, 0):
        return dict(codec)
    kbits = nextafter(codebooks_a_channel(config) * _bits(codec) / 1000, inf)  # transformers rounds down
    return {**codec, "target_bandwidths": [kbits, *codec["target_bandwidths"]]}


def codebooks_a_channel(config: Config) -> int:
    """How many codebooks the language model has for each channel that the codec encodes alone."""
    return int(_lm(config, "n_q", 8) // (2 if is_stereo(config) else 1))


def codebooks(codec: Mapping[str, Any], which: int = -1) -> int:
    """How many codebooks a codec has, or encodes with by one of its bandwidths.

    Args:
        codec: the values of EncodecConfig.
        which: of the bandwidths; by the last one it has all codebooks.
    """
    return int(1000 * codec["target_bandwidths"][which] // _bits(codec))


def _bits(codec: Mapping[str, Any]) -> float:
    """Of a codebook, in a second, as transformers counts them."""
    rate: int = -(-codec["sampling_rate"] // prod(codec["upsampling_ratios"]))
    return rate * log2(codec["codebook_size"])


def _lm(config: Config, key: str, default: Any) -> Any:
    """A value of the language model; the default is that of audiocraft.models.lm.LMModel."""
    return config.get(f"transformer_lm.{key}", default)
