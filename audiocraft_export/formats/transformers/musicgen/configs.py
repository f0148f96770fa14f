"""Build the files beside the weights of a MusicGen of transformers: configurations and processor."""

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
    """Check that a compression model has the codebooks of a language model.

    Raises:
        CheckpointError: if it has others.
    """
    values = codec.parse("config.json")
    found, size = codebooks(values), values["codebook_size"]
    needed, card = codebooks_per_channel(config), config.get("transformer_lm.card", 1024)
    if found < needed or size != card:
        raise CheckpointError(f"The compression model has {found} codebooks of {size}, and the language model "
                              f"needs {needed} of {card}: name the one that it was trained with, "
                              "in compression_model_checkpoint.")


def decoder_alone_config(config: Config, dtype: str) -> Values:
    """The values of config.json of a decoder alone."""
    return {**_common(DECODER_ALONE, dtype), **decoder_config(config)}


def composite_config(config: Config, layout: Layout, dtype: str, encoder: TextEncoder, codec: ModelFiles) -> Values:
    """The values of config.json of a model with a text encoder and a compression model inside."""
    common = _common(layout.architecture, dtype)
    chroma = _chroma_config(config, layout.melody) if layout.melody else {}
    decoder = {**decoder_config(config), "model_type": f"{common['model_type']}_decoder"}
    return {**common, **chroma, "is_encoder_decoder": True, "text_encoder": encoder.config,
            "audio_encoder": codec_config_for_prompts(codec.parse("config.json"), config), "decoder": decoder}


def musicgen_config_files(config: Config, layout: Layout, values: Mapping[str, Any]) -> ConfigFiles:
    """The configuration files of any MusicGen, with the values of config.json."""
    generation = generation_config(config, layout, values.get("audio_encoder"))
    return {"config.json": as_json(values), "generation_config.json": as_json(generation)}


def composite_files(config: Config, layout: Layout, values: Mapping[str, Any], encoder: TextEncoder, codec: ModelFiles
                    ) -> ConfigFiles:
    """As `musicgen_config_files`, and the processor of a model with a text encoder and a compression model inside."""
    extractor = _chroma_extractor(config, layout.melody) if layout.melody else _prompt_extractor(config, codec)
    files = musicgen_config_files(config, layout, values)
    return {**files, "preprocessor_config.json": as_json(extractor), **encoder.files}


def _common(architecture: str, dtype: str) -> Values:
    return {"architectures": [architecture], "model_type": CONFIG_MODEL_TYPES[architecture], "dtype": dtype}


def _prompt_extractor(config: Config, codec: ModelFiles) -> Values:
    """The feature extractor of the codec, padding on the left: the generated music follows the end of the audio."""
    values = codec.parse("preprocessor_config.json")
    channels = 2 if is_stereo(config) else values["feature_size"]
    return {**values, "feature_size": channels, "processor_class": "MusicgenProcessor", "padding_side": "left"}


def _chroma_config(config: Config, name: str) -> Values:
    rate, bins, window, hop = _chroma(config, name)
    samples = max(int(rate * config.get("dataset.segment_duration")), window)
    return {"num_chroma": bins, "chroma_length": 1 + samples // hop}


def _chroma_extractor(config: Config, name: str) -> Values:
    rate, bins, window, hop = _chroma(config, name)
    seconds = ceil(config.get("dataset.segment_duration") + window / 2 / rate)  # that the last frame can see
    return {"feature_extractor_type": "MusicgenMelodyFeatureExtractor", "processor_class": "MusicgenMelodyProcessor",
            "feature_size": bins, "num_chroma": bins, "sampling_rate": rate, "n_fft": window, "hop_length": hop,
            "chunk_length": seconds, "stem_indices": STEMS, "padding_side": "right", "padding_value": 0.0,
            "return_attention_mask": False}


def _chroma(config: Config, name: str) -> tuple[int, int, int, int]:
    """Of a chroma conditioner: sample rate, number of bins, length of a window and the step to the next, in samples."""
    rate, bins, exponent, hop = (config.get(f"conditioners.{name}.chroma_stem.{key}")
                                 for key in ("sample_rate", "n_chroma", "radix2_exp", "winhop"))
    return rate, bins, 2 ** exponent, hop or 2 ** exponent // 4
