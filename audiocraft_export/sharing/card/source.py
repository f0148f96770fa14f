"""What a card is written from, and the names of its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ...experiment.config import Config
from ...release.manifest import Manifest
from .model_types import GENERAL, MODEL_TYPES, ModelType

CARD_FILE = "README.md"
CURVE_FILE = "training-curve.png"


@dataclass(frozen=True)
class CardSource:
    """A release, as its card describes it."""

    manifest: Manifest
    config: Config  # `xp.cfg` as it is released; of the first band, for several
    history: Sequence[Any] = ()  # the metrics by stage, one entry an epoch; empty for several bands
    format: str = "audiocraft"  # or `safetensors`, `transformers`
    architecture: Optional[str] = None  # the class of transformers, for that format
    repo: Optional[str] = None  # ORG/NAME on the Hub, if it is pushed
    has_curve: bool = False  # whether the plot of the history is beside the card

    @property
    def model_type(self) -> ModelType:
        """The type of the model, by its family; in a manifest of format 1 the name of the solver says it."""
        return MODEL_TYPES.get(self.manifest.family or self.manifest.solver or "", GENERAL)

    @property
    def title(self) -> str:
        """The name of the repository, or of the type of the model."""
        return self.repo.rpartition("/")[2] if self.repo else self.model_type.name
