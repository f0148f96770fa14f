"""A codec without an LSTM, where transformers always has one: with zeros as weights, it gives back what it is given.

EncodecLSTM adds its input to the output, and that is 0: the candidate of each cell is tanh(0). So nothing changes, to
the last bit; the zeros are left out on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....checkpoint.tensor import ITEMSIZE, LazyTensor
from ....errors import CheckpointError, listing
from ....storage.lazy_bytes import LazyBytes, iter_chunks
from .key_map import LSTM, sides

LAYERS = 1  # of the LSTM that there is instead of none


def zeros(config: Mapping[str, Any], dtype: str) -> dict[str, LazyTensor]:
    """The tensors of the LSTM that a codec does not have, by the names of transformers.

    Args:
        config: the values of EncodecConfig.
        dtype: of the other weights.
    """
    width = config["num_filters"] << len(config["upsampling_ratios"])
    weight, bias = _zeros(dtype, 4 * width, width), _zeros(dtype, 4 * width)  # of four gates
    return {name: weight if "weight" in name else bias for name in names(config)}


def names(config: Mapping[str, Any]) -> list[str]:
    """The names of these tensors."""
    return [f"{side}.layers.{layers.index(LSTM)}.{name}".replace("*", "0")
            for side, layers in sides(config).items() for name in LSTM.values()]


def without(tensors: Mapping[str, LazyTensor], config: Mapping[str, Any]) -> dict[str, LazyTensor]:
    """A codec of transformers without these tensors.

    Raises:
        CheckpointError: if they are no zeros any more.
    """
    extra = names(config)
    trained = [name for name in extra if name in tensors and any(map(any, tensors[name].own_bytes.iter_chunks()))]
    if trained:
        raise CheckpointError(f"AudioCraft's codec has no LSTM (seanet.lstm=0), and {listing(trained)} is no longer "
                              "zero: it was trained further in transformers, so load it there.")
    return {name: tensor for name, tensor in tensors.items() if name not in extra}


def _zeros(dtype: str, rows: int, columns: int = 0) -> LazyTensor:
    shape, stride = ((rows, columns), (columns, 1)) if columns else ((rows,), (1,))
    nbytes = rows * (columns or 1) * ITEMSIZE[dtype]
    return LazyTensor(LazyBytes(nbytes, lambda begin, end: iter_chunks(bytes(end - begin), 0, end - begin)), dtype, 0, shape, stride)
