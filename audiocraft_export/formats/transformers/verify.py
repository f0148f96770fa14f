"""Verify a release in the transformers format: load it, and compare its output with AudioCraft's."""

import os
from pathlib import Path

from ...checkpoint.torch_tensors import from_torch
from ...experiment.config import Config
from ..safetensors.layout import read_json
from .encodec.convert import ARCHITECTURE
from .encodec.verify import compare_codecs, load_audiocraft_codec, verify_encodec
from .loading import hide_progress_bars, load_safetensors
from .model_files import CODEC_CONFIG
from .musicgen.key_maps import AUDIO_ENCODER
from .musicgen.verify import load_musicgen, verify_musicgen


def verify_with_transformers(folder: Path) -> None:
    """Load a release with transformers and with AudioCraft, and compare the outputs.

    Raises:
        CheckpointError: if the files of the release do not belong together.
        ReleaseError: if either library cannot load the release, or the outputs differ.
    """
    with hide_progress_bars():
        if read_json(folder / "config.json").get("architectures") == [ARCHITECTURE]:
            verify_encodec(folder)
            return
        verify_musicgen(folder)
        if os.path.isfile(folder / CODEC_CONFIG):
            _verify_inner_codec(folder)


def _verify_inner_codec(folder: Path) -> None:
    tensors = {name[len(AUDIO_ENCODER):]: tensor for name, tensor in from_torch(load_safetensors(folder)).items()
               if name.startswith(AUDIO_ENCODER)}
    codec = load_audiocraft_codec(tensors, Config.load(folder / CODEC_CONFIG))
    compare_codecs(codec, load_musicgen(folder).audio_encoder)
