"""The proof of a release in the form of transformers, by the class that loads it."""

from __future__ import annotations

import os
from pathlib import Path

from ...checkpoint.torch_tensors import from_torch
from ...experiment.config import Config
from ..safetensors.layout import read_json
from .build import CODEC_CONFIG
from .encodec.convert import ARCHITECTURE
from .encodec.loading import audiocraft_codec
from .encodec.verify import compare, prove_encodec
from .loading import quiet, stored
from .musicgen.key_maps import AUDIO_ENCODER
from .musicgen.verify import loaded, prove_musicgen


def prove(folder: Path) -> None:
    """Compare what transformers does with a release, and what AudioCraft does.

    Args:
        folder: the release folder.

    Raises:
        ReleaseError: if one of them cannot load it, or they differ.
    """
    with quiet():
        if read_json(folder / "config.json").get("architectures") == [ARCHITECTURE]:
            prove_encodec(folder)
            return
        prove_musicgen(folder)
        if os.path.isfile(folder / CODEC_CONFIG):
            _prove_inside(folder)


def _prove_inside(folder: Path) -> None:
    """The same of the codec inside a language model."""
    tensors = {name[len(AUDIO_ENCODER):]: tensor for name, tensor in from_torch(stored(folder)).items()
               if name.startswith(AUDIO_ENCODER)}
    compare(audiocraft_codec(tensors, Config.load(folder / CODEC_CONFIG)), loaded(folder).audio_encoder)
