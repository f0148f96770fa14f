"""A release before it is written, in no format yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from .compression_model import CompressionModel
from .families.registry import Family
from .manifest import Content, Manifest
from .model import ReleaseModel


@dataclass(frozen=True)
class PreparedRelease:
    """What a release is made of.

    Args:
        contents: its files in the format of AudioCraft, by name.
        manifest: what is known of it, but for the files.
        family: of the model.
        models: the model, or one for each band.
        codec: the compression model beside it.
    """

    contents: Mapping[str, Content]
    manifest: Manifest
    family: Family
    models: Sequence[ReleaseModel]
    codec: Optional[CompressionModel] = None
