"""A trained model on its way from a checkpoint into a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint
from ..experiment.config import Config
from ..experiment.privacy.scrub import scrub_config
from .content import model_content
from .weights import Weights, compact, select_weights


@dataclass(frozen=True)
class ReleaseModel:
    """A trained model.

    Args:
        checkpoint: where it comes from.
        weights: chosen and packed.
        version: AudioCraft version tag.
        config: what is released of the configuration that it was trained with; all of it is `checkpoint.config`.
    """

    checkpoint: Checkpoint
    weights: Weights
    version: str
    config: Config

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, version: str, which: str = "best", dtype: Optional[str] = None,
           scrub: Sequence[str] = ()) -> ReleaseModel:
        """The model of a checkpoint.

        Args:
            checkpoint: where it comes from.
            version: AudioCraft version tag.
            which: of its weights.
            dtype: of its floating point tensors; None is as stored.
            scrub: patterns of keys of its configuration that are not released.

        Raises:
            CheckpointError: if the checkpoint does not have these weights, or only a shard of them, or as `scrubbed`.
            OptionError: if `scrub` holds what is no pattern.
        """
        return cls(checkpoint, compact(select_weights(checkpoint, which), dtype), version, scrub_config(checkpoint.config, scrub))

    @property
    def content(self) -> dict[str, Any]:
        """The four keys of an exported model."""
        return model_content(self.weights.state, self.config.text, self.version)
