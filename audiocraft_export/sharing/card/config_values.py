"""Values of a configuration that a card may show: those that are written in it, of the type that they should have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Optional

from ...errors import CheckpointError
from ...experiment.config import Config
from ...release.compression_model import KEY


def value_of(config: Config, key: str) -> Any:
    """A value of the configuration that is written in it; None for what the environment of this machine says.

    Args:
        config: the configuration.
        key: dotted.
    """
    top, *names = key.split(".")
    try:
        value = config.require(top)[top]
    except CheckpointError:
        value = config.raw(top)
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return None if isinstance(value, str) and ("${" in value or value == "???") else value


def count_of(config: Config, key: str) -> Optional[int]:
    """A whole number of the configuration, from 1; None for anything else."""
    value = value_of(config, key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else None


def public_codec(config: Config) -> Optional[str]:
    """The name of the public compression model that a model was trained on; None if it is none."""
    form = value_of(config, KEY)
    name = form[len("//pretrained/"):] if isinstance(form, str) and form.startswith("//pretrained/") else ""
    return name if name.isprintable() and 0 < len(name.split("/")) <= 2 and name[:1].isalnum() else None


def conditions_of(config: Config) -> dict[str, Mapping[str, Any]]:
    """What a language model is conditioned on, by its names."""
    conditioners = value_of(config, "conditioners")
    conditioners = conditioners if isinstance(conditioners, dict) else {}
    return {str(name): each for name, each in conditioners.items() if name != "args" and isinstance(each, dict)}


def frame_rate_of(config: Config) -> Optional[float]:
    """How many codes a second a compression model makes with one codebook: its sample rate over its hop."""
    rate, ratios = count_of(config, "sample_rate"), value_of(config, "seanet.ratios")
    if rate is None or not isinstance(ratios, list) or not ratios or len(ratios) > 32 \
            or not all(type(each) is int and 0 < each < 1 << 16 for each in ratios):
        return None
    return rate / math.prod(ratios)
