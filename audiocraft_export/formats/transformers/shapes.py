"""The names and shapes that a class of transformers has, without the memory for its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing
from .model_files import USE


def check_shapes(architecture: str, config: Mapping[str, Any], tensors: Mapping[str, LazyTensor]) -> None:
    """Compare a model with the class of transformers that has to load it.

    Args:
        architecture: the class.
        config: the values of its configuration.
        tensors: by the names of transformers.

    Raises:
        CheckpointError: if names or shapes differ, or the class cannot be built.
    """
    expected, found = shapes(architecture, config), {name: tensor.shape for name, tensor in tensors.items()}
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is too many" for name in found if name not in expected]
    wrong += [f"{name} is {list(found[name])}, not {list(shape)}" for name, shape in expected.items()
              if found.get(name, shape) != shape]
    if wrong:
        raise CheckpointError("The weights are not those of the configuration (xp.cfg), from which transformers builds "
                              f"{architecture}: {listing(wrong)}; {USE}")


def shapes(architecture: str, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of a class by the names of its tensors; one name for tied ones.

    Raises:
        CheckpointError: if it cannot be built.
    """
    import torch
    import transformers
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # a training may go on after this
            built = getattr(transformers, architecture)
            model = built(built.config_class(**deepcopy(dict(config))))  # transformers 4 takes parts out
    except Exception as exc:  # whatever transformers and torch say of it
        raise CheckpointError(f"transformers builds no {architecture} of this configuration ({type(exc).__name__}: "
                              f"{exc}): {USE}") from exc
    state = model.state_dict(keep_vars=True)
    names: dict[int, str] = {}
    return {name: tuple(tensor.shape) for name, tensor in state.items() if names.setdefault(id(tensor), name) == name}
