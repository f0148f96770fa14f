"""Let `torch.load` read the OmegaConf configurations that Flashy and AudioCraft store in their checkpoints."""

from argparse import Namespace
from collections import defaultdict
from typing import Any

import torch
from omegaconf import AnyNode, BooleanNode, DictConfig, FloatNode, IntegerNode, ListConfig, StringNode
from omegaconf.base import ContainerMetadata, Metadata


def allow_config_classes() -> None:
    """Add the classes of configurations to those that `torch.load` accepts with `weights_only=True`.

    They stay accepted until the process ends. Does nothing before torch 2.6, where `weights_only` is off by default.
    """
    if torch.__version__ >= "2.6":  # a TorchVersion, which is compared by its numbers
        torch.serialization.add_safe_globals([*_CONFIG_GLOBALS])


def _dict(factory: Any = None) -> dict[Any, Any]:
    return {}


class _Metadata(ContainerMetadata):
    """Metadata in the making; OmegaConf requires a defaultdict for its cache."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, resolver_cache=defaultdict(dict, state["resolver_cache"]))
        self.__class__ = ContainerMetadata  # type: ignore[assignment]


# Nodes of enumerations and paths are left out, because their values have other classes.
_CONFIG_GLOBALS = (
    DictConfig, ListConfig, Metadata, AnyNode, BooleanNode, FloatNode, IntegerNode, StringNode, bool, dict, float, int,
    list, str, Namespace, (Any, "typing.Any"),  # with a name, because it has none in Python 3.9
    (_Metadata, "omegaconf.base.ContainerMetadata"),
    (_dict, "collections.defaultdict"),  # torch 2.10 and later cannot fill a defaultdict
)
