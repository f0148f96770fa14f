"""A codec that AudioCraft's compression solver trained, as an EncodecModel of transformers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....checkpoint.tensor import LazyTensor
from ....errors import CheckpointError
from ....experiment.config import Config
from ....release.weights import Weights
from ..model_files import Parts, as_json
from ..shapes import check_shapes
from . import zero_lstm
from .config import codebooks, encodec_config
from .constraints import Values
from .key_map import key_map

ARCHITECTURE = "EncodecModel"
Tensors = dict[str, LazyTensor]


def encodec(content: Mapping[str, Any]) -> Parts:
    """A compression model in the form of transformers.

    Args:
        content: of an exported one, with the tensors described (`release.model_content`).

    Raises:
        CheckpointError: if EncodecModel cannot represent it, or the weights are not those of its configuration.
    """
    values = encodec_config(Config.parse(content["xp.cfg"]))
    tensors = Weights(content["best_state"], "", "").tensors
    check_depth(tensors, values)
    dtype = dtype_of(tensors)
    renamed = key_map(values).to_transformers(tensors)
    if not values["num_lstm_layers"]:
        renamed.update(zero_lstm.zeros(values, dtype))
        values["num_lstm_layers"] = zero_lstm.LAYERS
    check_shapes(ARCHITECTURE, values, renamed)
    config = {"architectures": [ARCHITECTURE], "model_type": "encodec", "dtype": dtype, **values}
    return Parts(ARCHITECTURE, renamed, {"config.json": as_json(config),
                                         "preprocessor_config.json": as_json(feature_extractor(values))})


def audiocraft_codec_state(tensors: Mapping[str, LazyTensor], config: Config) -> Tensors:
    """The weights of an EncodecModel by the names of AudioCraft, as `encodec` was given them.

    Args:
        tensors: by the names of transformers.
        config: of the compression model (xp.cfg).

    Raises:
        CheckpointError: if they are not those of such a codec.
    """
    values = encodec_config(config)
    if not values["num_lstm_layers"]:
        tensors = zero_lstm.without(tensors, values)
    return key_map(values).to_audiocraft(tensors)


def feature_extractor(config: Mapping[str, Any]) -> Values:
    """What EncodecFeatureExtractor has to know of a codec.

    Args:
        config: the values of EncodecConfig.
    """
    return {"feature_extractor_type": "EncodecFeatureExtractor", "feature_size": config["audio_channels"],
            "sampling_rate": config["sampling_rate"], "chunk_length_s": config["chunk_length_s"],
            "overlap": config["overlap"], "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True}


def dtype_of(tensors: Mapping[str, LazyTensor]) -> str:
    """The element type of a model, for its configuration; float32 if it has several."""
    found = {tensor.dtype for tensor in tensors.values()}
    return found.pop() if len(found) == 1 else "float32"


def check_depth(tensors: Mapping[str, LazyTensor], values: Values) -> None:
    """Check that a configuration does not ask for more layers than there are tensors: building them would take long.

    Args:
        tensors: by the names of AudioCraft.
        values: of `encodec_config`.

    Raises:
        CheckpointError: if it does.
    """
    blocks = (values["num_residual_layers"] + 1) * len(values["upsampling_ratios"])
    if codebooks(values) + blocks + values["num_lstm_layers"] > len(tensors):
        raise CheckpointError(f"The codec has {len(tensors)} tensors, and its configuration (xp.cfg) asks for more "
                              "layers: export it with the configuration that it was trained with.")
