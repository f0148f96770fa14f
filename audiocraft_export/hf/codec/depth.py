"""Whether a codec has as many layers as its configuration says."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import CheckpointError
from ...tensor import Tensor
from .config import codebooks
from .limits import Values


def check_depth(tensors: Mapping[str, Tensor], values: Values) -> None:
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
