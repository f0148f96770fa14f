"""Parameter names and shapes of a transformers class, built on the meta device."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing
from .model_files import USE


def check_shapes(architecture: str, config: Mapping[str, Any], tensors: Mapping[str, LazyTensor]) -> None:
    """Compare names and shapes of tensors with those of the transformers class that loads them.

    Args:
        architecture: the name of the class.
        config: the values of its configuration.
        tensors: the tensors by name.

    Raises:
        CheckpointError: if names or shapes differ, or transformers cannot build the class.
    """
    expected, found = meta_shapes(architecture, config), {name: tensor.shape for name, tensor in tensors.items()}
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is unexpected" for name in found if name not in expected]
    wrong += [f"{name} has the shape {list(found[name])}, expected {list(shape)}" for name, shape in expected.items()
              if found.get(name, shape) != shape]
    if wrong:
        raise CheckpointError("weights-config-mismatch",
                              f"The weights do not match the {architecture} that transformers builds from the "
                              f"configuration (xp.cfg): {listing(wrong)}", USE)


def meta_shapes(architecture: str, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a transformers class by parameter name; tied tensors have one name.

    Args:
        architecture: the name of the class.
        config: the values of its configuration.

    Raises:
        CheckpointError: if transformers cannot build the class.
    """
    import transformers
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # keeps the random state of a training
            model_class = getattr(transformers, architecture)
            model = model_class(model_class.config_class(**deepcopy(dict(config))))  # transformers 4 modifies it
    except Exception as exc:  # transformers and torch raise many types of exceptions
        raise CheckpointError("unsupported-by-transformers", f"transformers cannot build {architecture} from this "
                              f"configuration: {type(exc).__name__}: {exc}", USE) from exc
    first_names: dict[int, str] = {}
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict(keep_vars=True).items()
            if first_names.setdefault(id(tensor), name) == name}
