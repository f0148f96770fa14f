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
    """A trained model, as it is released."""

    checkpoint: Checkpoint  # where it comes from
    weights: Weights  # selected and compacted
    version: str  # AudioCraft version tag
    config: Config  # the released part of its configuration; all of it is `checkpoint.config`

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, version: str, which: str = "best", dtype: Optional[str] = None,
                        scrub: Sequence[str] = (), *, of_audiocraft: bool = False) -> ReleaseModel:
        """Take the model out of a checkpoint, as `select_weights`, `compact` and `scrub_config`.

        Raises:
            CheckpointError: if the checkpoint does not have these weights, or only a shard, or as `scrub_config`.
            OptionError: if `scrub` holds an invalid pattern.
        """
        weights = compact(select_weights(checkpoint, which, of_audiocraft), dtype)
        return cls(checkpoint, weights, version, scrub_config(checkpoint.config, scrub))

    @property
    def content(self) -> dict[str, Any]:
        """The four keys of an exported model."""
        return model_content(self.weights.state, self.config.text, self.version)
