"""A model in the form of transformers, on its way into a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ...checkpoint.tensor import LazyTensor

USE = "use format=safetensors, or format=audiocraft."  # the remedy for what transformers cannot represent


@dataclass(frozen=True)
class Parts:
    """What a model consists of in the form of transformers, before it is written.

    Args:
        architecture: the class of transformers that loads it.
        tensors: by the names of transformers; one name for tied ones.
        files: by name, the texts and bytes of all other files (config.json, generation_config.json, processor,
            tokenizer).
        others: tensors of AudioCraft's model that transformers has no place for and that are kept beside it, by
            AudioCraft's names (conditioners.safetensors).
    """

    architecture: str
    tensors: Mapping[str, LazyTensor]
    files: Mapping[str, Union[str, bytes]]
    others: Mapping[str, LazyTensor] = field(default_factory=dict)


def as_json(values: Any) -> str:
    """The text of a file of transformers."""
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
