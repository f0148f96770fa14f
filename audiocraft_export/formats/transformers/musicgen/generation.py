"""Build the decoder and generation configurations of a MusicGen of transformers."""

from collections.abc import Mapping
from math import inf, nextafter, prod
from typing import Any, Optional

from ....experiment.config import Config
from ..encodec.config import bits_per_second, codebooks
from ..model_files import Values
from .architecture import Layout, is_stereo
from .constraints import check_number

POSITIONS = 2048  # initial size of the position table of transformers, which grows when needed
TOP_K = 250  # default of audiocraft.models.MusicGen.set_generation_params


def decoder_config(config: Config) -> Values:
    """Return the values of MusicgenDecoderConfig or MusicgenMelodyDecoderConfig."""
    size, dropout = _lm(config, "dim", 128), _lm(config, "dropout", 0.1)
    return {
        "vocab_size": _lm(config, "card", 1024), "hidden_size": size,
        "ffn_dim": int(_lm(config, "hidden_scale", 4) * size),
        "num_hidden_layers": _lm(config, "num_layers", None), "num_attention_heads": _lm(config, "num_heads", 8),
        "num_codebooks": _lm(config, "n_q", 8), "audio_channels": 2 if is_stereo(config) else 1,
        "activation_function": _lm(config, "activation", "relu"), "max_position_embeddings": POSITIONS,
        "dropout": dropout, "attention_dropout": _lm(config, "attention_dropout", dropout),
        "activation_dropout": dropout, "layerdrop": 0.0, "scale_embedding": False, "tie_word_embeddings": False,
        **special_tokens(config)}


def generation_config(config: Config, layout: Layout, codec: Optional[Mapping[str, Any]]) -> Values:
    """Return the values of GenerationConfig: the defaults of AudioCraft's MusicGen and the duration of the training.

    Args:
        config: the configuration of the training.
        layout: the parts of the language model.
        codec: the values of EncodecConfig; None for a decoder without codec.

    Raises:
        CheckpointError: if the configuration has no valid duration.
    """
    values: Values = {"do_sample": True, "top_k": TOP_K, **special_tokens(config)}
    if codec is None:  # MusicgenForCausalLM.generate of transformers 5 fills in no defaults
        # With cross attention, the cache would mix up the keys and values of both attentions.
        return {**values, "num_return_sequences": 1, "use_cache": not layout.cross}
    seconds = check_number(config, "dataset.segment_duration", 0.1, 1 << 16)
    frame_rate = codec["sampling_rate"] // prod(codec["upsampling_ratios"])  # rounded down as in AudioCraft
    return {**values, "guidance_scale": float(config.get("classifier_free_guidance.inference_coef", 1.0)),
            "max_length": int(seconds * frame_rate) + codebooks_per_channel(config)}


def special_tokens(config: Config) -> Values:
    """Return the special tokens of transformers, all of which are AudioCraft's only special token, `card`."""
    return dict.fromkeys(("pad_token_id", "bos_token_id", "decoder_start_token_id"), _lm(config, "card", 1024))


def codec_config_for_prompts(codec: Mapping[str, Any], config: Config) -> Values:
    """Return EncodecConfig with a first target bandwidth, for audio prompts, that fits the language model."""
    if codebooks_per_channel(config) >= codebooks(codec, 0):
        return dict(codec)
    kbits = nextafter(codebooks_per_channel(config) * bits_per_second(codec) / 1000, inf)  # transformers rounds down
    return {**codec, "target_bandwidths": [kbits, *codec["target_bandwidths"]]}


def codebooks_per_channel(config: Config) -> int:
    """Return the number of codebooks per audio channel: half of them in stereo, else all."""
    return int(_lm(config, "n_q", 8) // (2 if is_stereo(config) else 1))


def _lm(config: Config, key: str, default: Any) -> Any:
    """Return a setting of the language model, with the default of audiocraft.models.lm.LMModel."""
    return config.get(f"transformer_lm.{key}", default)
