"""Compare what AudioCraft and transformers compute with a released codec: equal codes, and the same audio."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ....checkpoint.tensor import LazyTensor
from ....checkpoint.torch_tensors import from_torch, to_torch
from ....errors import ReleaseError, listing
from ....experiment.config import Config
from ...audiocraft.rebuild import import_audiocraft
from ..loading import explain_errors, load_safetensors, load_strictly
from ..model_files import CONFIG, USE
from .convert import ARCHITECTURE, from_encodec

TOLERANCE = 1e-4  # of a sample, full scale being 1, in float32
PITCHES = (110.0, 277.2, 1318.5)  # Hz
VOLUMES = (0.5, 0.05)  # of the two waveforms: a codec may normalize them


@dataclass(frozen=True)
class Agreement:
    """The number of codes, all of them equal, and the largest difference between two samples of the decoded audio."""

    codes: int
    audio: float


def verify_encodec(folder: Path) -> Agreement:
    """Compare AudioCraft's model and that of transformers on the weights of a release folder.

    Raises:
        CheckpointError: if config.yaml is not that of such a codec.
        ReleaseError: if one of them cannot be built, or they differ; the message has the numbers.
    """
    reference = load_audiocraft_codec(from_torch(load_safetensors(folder)), Config.load(folder / CONFIG))
    return compare_codecs(reference, load_transformers_codec(folder))


def compare_codecs(reference: Any, converted: Any) -> Agreement:
    """Encode and decode the same sound with AudioCraft's compression model and an EncodecModel, both in float32.

    Raises:
        ReleaseError: if the codes are not equal, or samples differ by more than `TOLERANCE`; with the numbers.
    """
    sound = waveforms(reference.sample_rate, reference.channels)
    with explain_errors(_difference), torch.inference_mode():
        expected, scale = reference.encode(sound)
        found, scales, _ = converted.encode(sound, return_dict=False)
        if found[0].shape != expected.shape:
            raise _difference(f"codes [batch, codebooks, frames] are {list(found[0].shape)} of transformers, "
                              f"{list(expected.shape)} of AudioCraft")
        different = int((found[0] != expected).sum())
        if different:
            raise _difference(f"{different} of {expected.numel()} codes differ")
        audio = reference.decode(expected, scale)
        samples = converted.decode(found, scales, return_dict=False)[0]
    if samples.shape != audio.shape or converted.config.sampling_rate != reference.sample_rate:
        raise _difference(f"{list(samples.shape)} samples at {converted.config.sampling_rate} Hz of transformers, "
                          f"{list(audio.shape)} at {reference.sample_rate} Hz of AudioCraft")
    difference = float((samples - audio).abs().max())
    if not difference <= TOLERANCE:  # it may be NaN
        raise _difference(f"decoded samples differ by up to {difference:.3g}, more than {TOLERANCE:g}")
    return Agreement(expected.numel(), difference)


def load_audiocraft_codec(tensors: Mapping[str, LazyTensor], config: Config) -> Any:
    """Build AudioCraft's compression model of a configuration (xp.cfg), with the weights of an EncodecModel.

    Raises:
        CheckpointError: if the weights are not those of such a codec.
        ReleaseError: if AudioCraft is not installed, or cannot build it.
    """
    state = from_encodec(tensors, config)
    from omegaconf import OmegaConf
    builders = import_audiocraft("models.builders")
    cfg = OmegaConf.create({**config.values, "device": "cpu"})
    with _building("AudioCraft"):
        with torch.random.fork_rng(devices=[]):  # a training may go on after this
            model = builders.get_compression_model(cfg)
        model.load_state_dict({name: to_torch(tensor) for name, tensor in state.items()})
    return model.eval()


def load_transformers_codec(folder: Path) -> Any:
    """Load the EncodecModel of a folder.

    Raises:
        ReleaseError: if transformers does not load it as it is.
    """
    with _building("transformers"):
        model, wrong = load_strictly("AutoModel", folder, dtype=torch.float32, local_files_only=True)
    if wrong or type(model).__name__ != ARCHITECTURE:
        raise ReleaseError(f"transformers does not find the weights of an {ARCHITECTURE} in {folder}, but a "
                           f"{type(model).__name__} ({listing(wrong) or 'complete'}): do not use it, export again.")
    return model


def waveforms(sample_rate: int, channels: int) -> Any:
    """Two sounds of tones and noise that end in the middle of a frame: [2, channels, samples]."""
    count = sample_rate + sample_rate // 7
    noise = torch.randn(len(VOLUMES), channels, count, generator=torch.Generator().manual_seed(0))
    time = torch.arange(count) / sample_rate
    tones = torch.stack([torch.sin(2 * math.pi * pitch * time) for pitch in PITCHES]).mean(0)
    return torch.tensor(VOLUMES)[:, None, None] * (tones + noise / 8)


def _difference(how: str) -> ReleaseError:
    return ReleaseError(f"{ARCHITECTURE} of transformers is not the codec that AudioCraft trained ({how}): do not use "
                        f"it, {USE}")


def _building(library: str) -> AbstractContextManager[None]:
    return explain_errors(lambda message: ReleaseError(
        f"{library} builds no codec of this release ({message}): mend what it stumbles over, or {USE}"))
