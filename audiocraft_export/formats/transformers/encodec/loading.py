"""A codec built by both libraries from the same released weights, in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....checkpoint.tensor import LazyTensor
from ....checkpoint.torch_tensors import to_torch
from ....errors import ReleaseError, listing
from ....experiment.config import Config
from ...audiocraft.rebuild import import_audiocraft
from .convert import ARCHITECTURE, audiocraft_codec_state


def audiocraft_codec(tensors: Mapping[str, LazyTensor], config: Config) -> Any:
    """AudioCraft's codec, built from its configuration and with the weights of an EncodecModel.

    Args:
        tensors: by the names of transformers, without the name of a larger model before them.
        config: of the compression model (xp.cfg).

    Raises:
        CheckpointError: if the weights are not those of such a codec.
        ReleaseError: if AudioCraft is missing here, or builds no codec of it.
    """
    state = audiocraft_codec_state(tensors, config)
    import torch
    from omegaconf import OmegaConf
    builders = import_audiocraft("models.builders")
    cfg = OmegaConf.create({**config.values, "device": "cpu"})
    try:
        with torch.random.fork_rng(devices=[]):  # a training may go on after this
            model = builders.get_compression_model(cfg)
        model.load_state_dict({name: to_torch(tensor) for name, tensor in state.items()})
    except Exception as exc:  # whatever AudioCraft stumbles over is the answer
        raise _stumbles("AudioCraft", exc) from exc
    return model.eval()


def transformers_codec(folder: Path) -> Any:
    """The EncodecModel of a folder, in float32.

    Raises:
        ReleaseError: if transformers does not load it as it is.
    """
    import torch

    from ..loading import load_strictly
    try:
        model, wrong = load_strictly("AutoModel", folder, dtype=torch.float32, local_files_only=True)
    except Exception as exc:  # whatever transformers stumbles over is the answer
        raise _stumbles("transformers", exc) from exc
    if wrong or type(model).__name__ != ARCHITECTURE:
        raise ReleaseError(f"transformers does not find the weights of an {ARCHITECTURE} in {folder}, but a "
                           f"{type(model).__name__} ({listing(wrong) or 'complete'}): do not use it, export again.")
    return model


def _stumbles(library: str, exc: Exception) -> ReleaseError:
    said = f"{type(exc).__name__}: {' '.join(str(exc).split())}"
    return ReleaseError(f"{library} builds no codec of this release ({said}): mend what it stumbles over, or use "
                        "format=safetensors, or format=audiocraft.")
