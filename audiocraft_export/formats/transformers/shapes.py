"""Parameter names and shapes of a transformers class, built on the meta device."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing
from .model_files import USE


def check_shapes(architecture: str, config: Mapping[str, Any], tensors: Mapping[str, LazyTensor]) -> None:
    """Compare tensors with the transformers class that has to load them, built of the values of its configuration.

    Raises:
        CheckpointError: if names or shapes differ, or the class cannot be built.
    """
    expected, found = meta_shapes(architecture, config), {name: tensor.shape for name, tensor in tensors.items()}
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is too many" for name in found if name not in expected]
    wrong += [f"{name} is {list(found[name])}, not {list(shape)}" for name, shape in expected.items()
              if found.get(name, shape) != shape]
    if wrong:
        raise CheckpointError("The weights are not those of the configuration (xp.cfg), from which transformers builds "
                              f"{architecture}: {listing(wrong)}; {USE}")


def meta_shapes(architecture: str, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes by parameter name; tied tensors have one name.

    Raises:
        CheckpointError: if the class cannot be built.
    """
    import transformers
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # a training may go on after this
            model_class = getattr(transformers, architecture)
            model = model_class(model_class.config_class(**deepcopy(dict(config))))  # transformers 4 takes parts out
    except Exception as exc:  # transformers and torch raise many types
        raise CheckpointError(f"transformers builds no {architecture} of this configuration ({type(exc).__name__}: "
                              f"{exc}): {USE}") from exc
    first_names: dict[int, str] = {}
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict(keep_vars=True).items()
            if first_names.setdefault(id(tensor), name) == name}
