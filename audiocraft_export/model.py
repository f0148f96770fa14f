"""A trained model on its way from a checkpoint into a release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from .checkpoint import Checkpoint
from .config import Config
from .release import model_content
from .weights import Weights, choose, pack


@dataclass(frozen=True)
class Model:
    """A trained model.

    Args:
        checkpoint: where it comes from.
        weights: chosen and packed.
        version: AudioCraft version tag.
    """

    checkpoint: Checkpoint
    weights: Weights
    version: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, version: str, which: str = "best", dtype: Optional[str] = None) -> Model:
        """The model of a checkpoint.

        Raises:
            CheckpointError: if the checkpoint does not have these weights, or only a shard of them.
        """
        return cls(checkpoint, pack(choose(checkpoint, which), dtype), version)

    @property
    def config(self) -> Config:
        """The configuration that it was trained with."""
        return self.checkpoint.config

    @property
    def content(self) -> dict[str, Any]:
        """The four keys of an exported model."""
        return model_content(self.weights.state, self.config.text, self.version)
