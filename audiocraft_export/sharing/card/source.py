"""The input of a model card."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ...experiment.config import Config
from ...release.manifest import Manifest
from .model_types import GENERAL, MODEL_TYPES, ModelType


@dataclass(frozen=True)
class CardSource:
    """The data of a release that its card describes."""

    manifest: Manifest
    config: Config  # the released `xp.cfg`; that of the first band if there are several
    history: Sequence[Any] = ()  # the metrics by stage, one entry per epoch; empty for several bands
    format: str = "audiocraft"  # or `safetensors`, `transformers`
    architecture: Optional[str] = None  # transformers class, if the format is `transformers`
    repo: Optional[str] = None  # ORG/NAME on the Hub, if the release is pushed
    revision: Optional[str] = None  # the branch of `repo`; None is `main`
    curve: Optional[str] = None  # SHA-256 of the plot of the history, if the folder has one

    @property
    def model_type(self) -> ModelType:
        """The type of the model, from the family or, in manifests of format 1, from the solver."""
        return MODEL_TYPES.get(self.manifest.family or self.manifest.solver or "", GENERAL)

    @property
    def title(self) -> str:
        """The name of the repository on the Hub, or of the type of the model."""
        return self.repo.rpartition("/")[2] if self.repo else self.model_type.name
