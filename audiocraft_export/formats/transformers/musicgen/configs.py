"""Build the configurations and the processor of a MusicGen of transformers."""

from collections.abc import Mapping
from math import ceil
from typing import Any, Union

from ....errors import CheckpointError
from ....experiment.config import Config
from ..encodec.config import codebooks
from ..model_files import ModelFiles, Values, as_json
from .architecture import DECODER_ALONE, MELODY_MODEL, TEXT_MODEL, Layout, is_stereo
from .generation import codebooks_per_channel, codec_config_for_prompts, decoder_config, generation_config
from .text_encoder import TextEncoder

CONFIG_MODEL_TYPES = {TEXT_MODEL: "musicgen", MELODY_MODEL: "musicgen_melody", DECODER_ALONE: "musicgen_decoder"}
STEMS = [3, 2]  # indices of vocals and other in the output of demucs
ConfigFiles = dict[str, Union[str, bytes]]


def check_codec(config: Config, codec: ModelFiles) -> None:
    """Check that a compression model has the codebooks that a language model needs.

    Raises:
        CheckpointError: if the number or the size of its codebooks differs.
    """
    values = codec.parse("config.json")
    found, size = codebooks(values), values["codebook_size"]
    needed, card = codebooks_per_channel(config), config.get("transformer_lm.card", 1024)
    if found < needed or size != card:
        raise CheckpointError("codec-mismatch", f"The compression model has {found} codebooks of {size} entries, but "
                              f"the language model needs {needed} of {card}", "provide the compression model "
                              "that it was trained with, under the name in compression_model_checkpoint")


def decoder_alone_config(config: Config, dtype: str) -> Values:
    """Return the values of config.json of a MusicgenForCausalLM, a decoder without text encoder and codec."""
    return {**_common(DECODER_ALONE, dtype), **decoder_config(config)}


def composite_config(config: Config, layout: Layout, dtype: str, encoder: TextEncoder, codec: ModelFiles) -> Values:
    """Return the values of config.json of a model that includes a text encoder and a codec."""
    common = _common(layout.architecture, dtype)
    chroma = _chroma_config(config, layout.melody) if layout.melody else {}
    decoder = {**decoder_config(config), "model_type": f"{common['model_type']}_decoder"}
    return {**common, **chroma, "is_encoder_decoder": True, "text_encoder": encoder.config,
            "audio_encoder": codec_config_for_prompts(codec.parse("config.json"), config), "decoder": decoder}


def musicgen_config_files(config: Config, layout: Layout, values: Mapping[str, Any]) -> ConfigFiles:
    """Return the configuration files of any MusicGen; `values` are those of config.json."""
    generation = generation_config(config, layout, values.get("audio_encoder"))
    return {"config.json": as_json(values), "generation_config.json": as_json(generation)}


def composite_files(config: Config, layout: Layout, values: Mapping[str, Any], encoder: TextEncoder, codec: ModelFiles
                    ) -> ConfigFiles:
    """Return the configuration files and the processor of a model that includes a text encoder and a codec."""
    extractor = _chroma_extractor(config, layout.melody) if layout.melody else _prompt_extractor(config, codec)
    files = musicgen_config_files(config, layout, values)
    return {**files, "preprocessor_config.json": as_json(extractor), **encoder.files}


def _common(architecture: str, dtype: str) -> Values:
    return {"architectures": [architecture], "model_type": CONFIG_MODEL_TYPES[architecture], "dtype": dtype}


def _prompt_extractor(config: Config, codec: ModelFiles) -> Values:
    """Return the feature extractor for audio prompts; it pads on the left, since the music continues the prompt."""
    values = codec.parse("preprocessor_config.json")
    channels = 2 if is_stereo(config) else values["feature_size"]
    return {**values, "feature_size": channels, "processor_class": "MusicgenProcessor", "padding_side": "left"}


def _chroma_config(config: Config, name: str) -> Values:
    """Return the values in config.json that describe the melody conditioning."""
    rate, bins, window, hop = _chroma(config, name)
    samples = max(int(rate * config.get("dataset.segment_duration")), window)
    return {"num_chroma": bins, "chroma_length": 1 + samples // hop}


def _chroma_extractor(config: Config, name: str) -> Values:
    """Return the feature extractor for melodies."""
    rate, bins, window, hop = _chroma(config, name)
    seconds = ceil(config.get("dataset.segment_duration") + window / 2 / rate)  # includes the whole last window
    return {"feature_extractor_type": "MusicgenMelodyFeatureExtractor", "processor_class": "MusicgenMelodyProcessor",
            "feature_size": bins, "num_chroma": bins, "sampling_rate": rate, "n_fft": window, "hop_length": hop,
            "chunk_length": seconds, "stem_indices": STEMS, "padding_side": "right", "padding_value": 0.0,
            "return_attention_mask": False}


def _chroma(config: Config, name: str) -> tuple[int, int, int, int]:
    """Return sample rate, number of bins, window length and hop length (in samples) of a chroma conditioner."""
    rate, bins, exponent, hop = (config.get(f"conditioners.{name}.chroma_stem.{key}")
                                 for key in ("sample_rate", "n_chroma", "radix2_exp", "winhop"))
    return rate, bins, 2 ** exponent, hop or 2 ** exponent // 4
