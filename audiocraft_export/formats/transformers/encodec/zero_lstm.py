"""An LSTM of zeros for a codec without one, because EncodecModel always has one.

EncodecLSTM adds its input to its output, which is exactly 0: the candidate of each cell is tanh(0).
"""

from collections.abc import Mapping
from typing import Any

from ....checkpoint.tensor import LazyTensor
from ..constants import constant, remove_constants
from .key_map import LSTM, layers_by_side

LAYERS = 1  # the fewest that a torch LSTM can have


def zero_lstm(config: Mapping[str, Any], dtype: str) -> dict[str, LazyTensor]:
    """The tensors of the LSTM of a codec that has none, by the values of EncodecConfig."""
    width = config["num_filters"] << len(config["upsampling_ratios"])
    return {name: constant(0, dtype, (4 * width, width) if "weight" in name else (4 * width,), name)  # four gates
            for name in _names(config)}


def remove_zero_lstm(tensors: Mapping[str, LazyTensor], config: Mapping[str, Any]) -> dict[str, LazyTensor]:
    """Remove the tensors of `zero_lstm`.

    Raises:
        CheckpointError: if they are no longer zero.
    """
    return remove_constants(tensors, dict.fromkeys(_names(config), 0), "codec has no LSTM (seanet.lstm=0)", "zero")


def _names(config: Mapping[str, Any]) -> list[str]:
    return [f"{side}.layers.{layers.index(LSTM)}.{name}".replace("*", "0")
            for side, layers in layers_by_side(config).items() for name in LSTM.values()]
