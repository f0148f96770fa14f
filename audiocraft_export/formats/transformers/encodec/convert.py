"""Convert a compression model of AudioCraft to an EncodecModel of transformers, and back."""

from collections.abc import Mapping
from typing import Any

from ....checkpoint.tensor import LazyTensor
from ....errors import CheckpointError
from ....experiment.config import Config
from ....release.weights import Weights
from ..constants import constant, remove_constants
from ..key_map import TensorsByName
from ..model_files import ModelFiles, as_json
from ..shapes import check_shapes
from .config import codebooks, encodec_config
from .key_map import LSTM, encodec_key_map, layers_by_side

ARCHITECTURE = "EncodecModel"
ZERO_LSTM_LAYERS = 1  # the fewest that a torch LSTM can have


def to_encodec(content: Mapping[str, Any]) -> ModelFiles:
    """Convert a compression model (`release.content.model_content`) to the transformers format.

    Raises:
        CheckpointError: if EncodecModel cannot represent it, or the weights are not those of its configuration.
    """
    values = encodec_config(Config.parse(content["xp.cfg"]))
    tensors = Weights(content["best_state"], "", "").tensors
    blocks = (values["num_residual_layers"] + 1) * len(values["upsampling_ratios"])
    if codebooks(values) + blocks + values["num_lstm_layers"] > len(tensors):  # building them could take forever
        raise CheckpointError(f"The codec has {len(tensors)} tensors, and its configuration (xp.cfg) asks for more "
                              "layers: export it with the configuration that it was trained with.")
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
    """Convert the weights of an EncodecModel back to those of the compression model with a configuration (xp.cfg).

    Raises:
        CheckpointError: if they are not those of such a codec.
    """
    values = encodec_config(config)
    if not values["num_lstm_layers"]:
        zeros = dict.fromkeys(_lstm_names(values), 0)
        tensors = remove_constants(tensors, zeros, "codec has no LSTM (seanet.lstm=0)", "zero")
    return encodec_key_map(values).to_audiocraft(tensors)


def encodec_config_files(config: Mapping[str, Any]) -> dict[str, str]:
    """The JSON files of an EncodecModel and its feature extractor, by the values of EncodecConfig."""
    extractor = {
        "feature_extractor_type": "EncodecFeatureExtractor", "feature_size": config["audio_channels"],
        "sampling_rate": config["sampling_rate"], "chunk_length_s": config["chunk_length_s"],
        "overlap": config["overlap"], "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True}
    return {"config.json": as_json(config), "preprocessor_config.json": as_json(extractor)}


def zero_lstm(config: Mapping[str, Any], dtype: str) -> TensorsByName:
    """An LSTM of zeros for a codec without one, because EncodecModel always has one, by the values of EncodecConfig.

    EncodecLSTM adds its input to its output, which is exactly 0: the candidate of each cell is tanh(0).
    """
    width = config["num_filters"] << len(config["upsampling_ratios"])
    return {name: constant(0, dtype, (4 * width, width) if "weight" in name else (4 * width,), name)  # four gates
            for name in _lstm_names(config)}


def _lstm_names(config: Mapping[str, Any]) -> list[str]:
    return [f"{side}.layers.{layers.index(LSTM)}.{name}".replace("*", "0")
            for side, layers in layers_by_side(config).items() for name in LSTM.values()]
