"""The files beside the weights of a MusicGen of transformers: its configuration and its processor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional, Union

from ....errors import CheckpointError
from ....experiment.config import Config
from ..model_files import Parts, as_json
from .architecture import DECODER_ALONE, MELODY_MODEL, TEXT_MODEL, Layout, is_stereo
from .chroma import chroma_config, chroma_extractor
from .generation import codebooks, codebooks_a_channel, decoder_config, for_prompts, generation_config
from .text_encoder import TextEncoder

MODEL_TYPES = {TEXT_MODEL: "musicgen", MELODY_MODEL: "musicgen_melody", DECODER_ALONE: "musicgen_decoder"}
Files = dict[str, Union[str, bytes]]


def check_codec(config: Config, codec: Parts) -> None:
    """Compare a codec with the language model that it is to decode.

    Args:
        config: of the experiment.
        codec: in the form of transformers.

    Raises:
        CheckpointError: if it has other codebooks.
    """
    values = _config(codec)
    found, wanted = (codebooks(values), values["codebook_size"]), \
        (codebooks_a_channel(config), config.get("transformer_lm.card", 1024))
    if found[0] < wanted[0] or found[1] != wanted[1]:
        raise CheckpointError(f"The compression model has {found[0]} codebooks of {found[1]}, and the language model "
                              f"needs {wanted[0]} of {wanted[1]}: name the one that it was trained with, "
                              "in compression_model_checkpoint.")


def model_config(config: Config, layout: Layout, dtype: str, encoder: Optional[TextEncoder],
                 codec: Optional[Parts]) -> dict[str, Any]:
    """The values of config.json.

    Args:
        config: of the experiment.
        layout: of its model.
        dtype: of the weights.
        encoder: of text, if there is one inside.
        codec: in the form of transformers, if there is one inside.
    """
    about = {"architectures": [layout.architecture], "model_type": MODEL_TYPES[layout.architecture], "dtype": dtype}
    decoder = decoder_config(config)
    if encoder is None or codec is None:
        return {**about, **decoder}
    chroma = chroma_config(config, layout.melody) if layout.melody else {}
    kind = f"{MODEL_TYPES[layout.architecture]}_decoder"
    return {**about, **chroma, "is_encoder_decoder": True, "text_encoder": encoder.config,
            "audio_encoder": for_prompts(_config(codec), config), "decoder": {**decoder, "model_type": kind}}


def model_files(config: Config, layout: Layout, values: Mapping[str, Any], encoder: Optional[TextEncoder],
                codec: Optional[Parts]) -> Files:
    """All files but the weights.

    Args:
        config: of the experiment.
        layout: of its model.
        values: of config.json.
        encoder: of text, if there is one inside.
        codec: in the form of transformers; a decoder alone takes from it how many steps a second has.
    """
    generation = generation_config(config, layout, _config(codec) if codec else None)
    files: Files = {"config.json": as_json(values), "generation_config.json": as_json(generation)}
    if encoder and codec:
        extractor = chroma_extractor(config, layout.melody) if layout.melody else _prompt_extractor(codec, config)
        files.update({"preprocessor_config.json": as_json(extractor), **encoder.files})
    return files


def _config(codec: Parts) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(codec.files["config.json"])
    return values


def _prompt_extractor(codec: Parts, config: Config) -> dict[str, Any]:
    """The feature extractor of the codec as that of a MusicGen, whose music goes on where the audio ends."""
    values: dict[str, Any] = json.loads(codec.files["preprocessor_config.json"])
    channels = 2 if is_stereo(config) else values["feature_size"]
    return {**values, "feature_size": channels, "processor_class": "MusicgenProcessor", "padding_side": "left"}
