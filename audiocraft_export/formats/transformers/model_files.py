"""A model converted to the transformers format, whose files are not written yet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ...checkpoint.tensor import LazyTensor

CONFIG, CODEC_CONFIG = "config.yaml", "compression_config.yaml"  # `xp.cfg` of the model and of its codec
OTHERS = "conditioners.safetensors"  # tensors without a counterpart in transformers
Values = dict[str, Any]  # values of a configuration by key
USE = "use format=safetensors or format=audiocraft"  # the hint for models that transformers does not support


@dataclass(frozen=True)
class ModelFiles:
    """The weights, configuration and other files of a model in the transformers format."""

    architecture: str  # the transformers class that loads it
    tensors: Mapping[str, LazyTensor]  # tensors by name in transformers; tied tensors have one name
    files: Mapping[str, Union[str, bytes]]  # contents of configurations, processor and tokenizer by file name
    others: Mapping[str, LazyTensor] = field(default_factory=dict)  # tensors for `OTHERS`, by name in AudioCraft

    def parse(self, name: str) -> dict[str, Any]:
        """Parse one of the JSON files."""
        values: dict[str, Any] = json.loads(self.files[name])
        return values


def as_json(values: Any) -> str:
    """Format values as JSON in the style of transformers."""
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
