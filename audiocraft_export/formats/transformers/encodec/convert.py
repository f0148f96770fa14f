"""Convert a compression model of AudioCraft to an EncodecModel of transformers, and back."""

from collections.abc import Mapping
from typing import Any

from ....checkpoint.state_dict import named_tensors
from ....checkpoint.tensor import LazyTensor
from ....errors import CheckpointError
from ....experiment.config import Config
from ..constants import constant, remove_constants
from ..key_map import TensorsByName
from ..model_files import ModelFiles, as_json
from ..shapes import check_shapes
from .config import codebooks, encodec_config
from .key_map import LSTM, encodec_key_map, layers_by_side

ARCHITECTURE = "EncodecModel"
ZERO_LSTM_LAYERS = 1  # the smallest number of layers of a torch LSTM


def to_encodec(content: Mapping[str, Any]) -> ModelFiles:
    """Convert a compression model (`release.content.model_content`) to the transformers format.

    Raises:
        CheckpointError: if EncodecModel does not support it, or its weights do not match its configuration.
    """
    values = encodec_config(Config.parse(content["xp.cfg"]))
    tensors = named_tensors(content["best_state"])
    blocks = (values["num_residual_layers"] + 1) * len(values["upsampling_ratios"])
    if codebooks(values) + blocks + values["num_lstm_layers"] > len(tensors):  # building the layers could take hours
        raise CheckpointError("weights-config-mismatch", "The configuration (xp.cfg) of the codec has more layers than "
                              f"its weights have tensors ({len(tensors)})",
                              "use the configuration that the codec was trained with")
    dtypes = {tensor.dtype for tensor in tensors.values()}
    dtype = dtypes.pop() if len(dtypes) == 1 else "float32"
    renamed = encodec_key_map(values).to_transformers(tensors)
    if not values["num_lstm_layers"]:
        renamed.update(zero_lstm(values, dtype))
        values["num_lstm_layers"] = ZERO_LSTM_LAYERS
    check_shapes(ARCHITECTURE, values, renamed)
    config = {"architectures": [ARCHITECTURE], "model_type": "encodec", "dtype": dtype, **values}
    return ModelFiles(ARCHITECTURE, renamed, encodec_config_files(config))


def from_encodec(tensors: Mapping[str, LazyTensor], config: Config) -> TensorsByName:
    """Convert the weights of an EncodecModel back to AudioCraft's compression model.

    Args:
        tensors: the weights by name.
        config: the configuration (xp.cfg) of the compression model.

    Raises:
        CheckpointError: if the weights do not match the configuration, or were trained further in transformers.
    """
    values = encodec_config(config)
    if not values["num_lstm_layers"]:
        zeros = dict.fromkeys(_lstm_names(values), 0)
        tensors = remove_constants(tensors, zeros, "codec has no LSTM (seanet.lstm=0)", "zero")
    return encodec_key_map(values).to_audiocraft(tensors)


def encodec_config_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the JSON files of an EncodecModel and its feature extractor, from the values of EncodecConfig."""
    extractor = {
        "feature_extractor_type": "EncodecFeatureExtractor", "feature_size": config["audio_channels"],
        "sampling_rate": config["sampling_rate"], "chunk_length_s": config["chunk_length_s"],
        "overlap": config["overlap"], "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True}
    return {"config.json": as_json(config), "preprocessor_config.json": as_json(extractor)}


def zero_lstm(config: Mapping[str, Any], dtype: str) -> TensorsByName:
    """Return the weights of an LSTM without effect for a codec without an LSTM, because EncodecModel always has one.

    All weights are 0, so the output is exactly 0 (the candidate of each cell is tanh(0)), and EncodecLSTM adds the
    output to its input.

    Args:
        config: the values of EncodecConfig.
        dtype: the dtype of the weights.
    """
    width = config["num_filters"] << len(config["upsampling_ratios"])
    return {name: constant(0, dtype, (4 * width, width) if "weight" in name else (4 * width,), name)  # 4 gates
            for name in _lstm_names(config)}


def _lstm_names(config: Mapping[str, Any]) -> list[str]:
    return [f"{side}.layers.{layers.index(LSTM)}.{name}".replace("*", "0")
            for side, layers in layers_by_side(config).items() for name in LSTM.values()]
