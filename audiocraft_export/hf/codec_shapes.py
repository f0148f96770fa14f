"""Whether the tensors of a codec are those that its configuration builds."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import CheckpointError, listing
from ..tensor import Tensor
from .codec_config import codebooks
from .codec_limits import USE, Values


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


def check_shapes(tensors: Mapping[str, Tensor], values: Values) -> None:
    """Compare names and shapes with those of an EncodecModel that has no memory.

    Args:
        tensors: by the names of transformers.
        values: of EncodecConfig.

    Raises:
        CheckpointError: if they differ, or no EncodecModel can be built.
    """
    expected = _shapes(values)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is too many" for name in found if name not in expected]
    wrong += [f"{name} is {list(found[name])}, not {list(shape)}" for name, shape in expected.items()
              if found.get(name, shape) != shape]
    if wrong:
        raise CheckpointError("The codec's weights are not those of its configuration (xp.cfg), from which "
                              f"transformers builds EncodecModel ({listing(wrong)}): {USE}")


def _shapes(values: Values) -> dict[str, tuple[int, ...]]:
    import torch
    from transformers import EncodecConfig, EncodecModel
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # a training may go on after this
            state = EncodecModel(EncodecConfig(**values)).state_dict()
    except Exception as exc:  # whatever transformers and torch say of it
        raise CheckpointError(f"transformers builds no EncodecModel of this configuration ({type(exc).__name__}: "
                              f"{exc}): {USE}") from exc
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
