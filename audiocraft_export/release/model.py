"""A trained model, taken from a checkpoint for a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint
from ..experiment.config import Config
from ..experiment.privacy.scrub import scrub_config
from .content import model_content
from .weights import Weights, select_weights


@dataclass(frozen=True)
class ReleaseModel:
    """A trained model, with the weights and the configuration to release."""

    checkpoint: Checkpoint  # the source of the model
    weights: Weights  # selected and compacted
    version: str  # AudioCraft version tag
    config: Config  # the scrubbed configuration; the whole one is `checkpoint.config`

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, version: str, which: str = "best", dtype: Optional[str] = None,
                        scrub: Sequence[str] = (), *, of_audiocraft: bool = False) -> ReleaseModel:
        """Select the weights and the configuration to release from a checkpoint.

        The arguments are those of `select_weights`, `compact` and `scrub_config`.

        Raises:
            CheckpointError: if the weights are missing or only a shard, or the configuration cannot be scrubbed.
            OptionError: if a pattern of `scrub` is invalid.
        """
        weights = select_weights(checkpoint, which, of_audiocraft).compact(dtype)
        return cls(checkpoint, weights, version, scrub_config(checkpoint.config, scrub))

    @property
    def content(self) -> dict[str, Any]:
        """The content of the exported file, with the four keys that AudioCraft's exports have."""
        return model_content(self.weights.state, self.config.text, self.version)
