"""Read values of a configuration for the card; only literal values of the expected type are used."""

import math
from collections.abc import Mapping
from typing import Any, Optional

from ...errors import CheckpointError
from ...experiment.config import Config
from ...release.compression_model import KEY
from .limits import MAX_COUNT, MAX_RATIO, MAX_RATIOS

PRETRAINED = "//pretrained/"


def value_of(config: Config, key: str) -> Any:
    """Return the value of a dotted key; None if it is missing or depends on the environment of this machine."""
    top, *names = key.split(".")
    try:
        value = config.require(top)[top]
    except CheckpointError:
        value = config.raw(top)
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return None if isinstance(value, str) and ("${" in value or value == "???") else value


def count_of(config: Config, key: str) -> Optional[int]:
    """Return a positive integer of the configuration; None for any other value."""
    value = value_of(config, key)
    return value if type(value) is int and 0 < value < MAX_COUNT else None


def public_codec(config: Config) -> Optional[str]:
    """Return the name of the compression model that a model was trained with; None if that model is not public."""
    form = value_of(config, KEY)
    name = form[len(PRETRAINED):] if isinstance(form, str) and form.startswith(PRETRAINED) else ""
    return name if name.isprintable() and name.count("/") < 2 and name[:1].isalnum() else None


def conditioners_of(config: Config) -> dict[str, Mapping[str, Any]]:
    """Return the settings of the conditioners of a language model, by the name of the condition."""
    conditioners = value_of(config, "conditioners")
    conditioners = conditioners if isinstance(conditioners, dict) else {}
    return {str(name): each for name, each in conditioners.items() if name != "args" and isinstance(each, dict)}


def frame_rate_of(config: Config) -> Optional[float]:
    """Return the frame rate of a compression model in Hz: sample rate / hop length; None if unknown."""
    rate, ratios = count_of(config, "sample_rate"), value_of(config, "seanet.ratios")
    if rate is None or not isinstance(ratios, list) or not 0 < len(ratios) <= MAX_RATIOS \
            or not all(type(each) is int and 0 < each < MAX_RATIO for each in ratios):
        return None
    return rate / math.prod(ratios)
