"""Verify a released codec: AudioCraft and transformers must give equal codes and the same audio."""

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
from ...audiocraft.rebuild import SKIP, import_audiocraft
from ..loading import explain_errors, load_safetensors, load_strictly
from ..model_files import CONFIG, USE
from .convert import ARCHITECTURE, from_encodec

TOLERANCE = 1e-4  # largest allowed difference of float32 samples; full scale is 1
PITCHES = (110.0, 277.2, 1318.5)  # frequencies of the test tones, in Hz
VOLUMES = (0.5, 0.05)  # volumes of the two test sounds, since a codec may normalize the volume


@dataclass(frozen=True)
class Agreement:
    """The number of compared codes, all equal, and the largest difference between samples of the decoded audio."""

    codes: int
    audio: float


def verify_encodec(folder: Path) -> Agreement:
    """Load a released codec with AudioCraft and with transformers, and compare the outputs.

    Raises:
        CheckpointError: if config.yaml and the weights do not match.
        ReleaseError: if either library cannot load the codec, or the outputs differ.
    """
    reference = load_audiocraft_codec(from_torch(load_safetensors(folder)), Config.load(folder / CONFIG))
    return compare_codecs(reference, load_transformers_codec(folder))


def compare_codecs(reference: Any, converted: Any) -> Agreement:
    """Encode and decode the same sound with two codecs in float32, and compare codes and samples.

    Args:
        reference: AudioCraft's compression model.
        converted: the EncodecModel of transformers.

    Raises:
        ReleaseError: if the codes are not equal, or samples differ by more than `TOLERANCE`.
    """
    sound = waveforms(reference.sample_rate, reference.channels)
    with explain_errors(_difference), torch.inference_mode():
        expected, scale = reference.encode(sound)
        found, scales, _ = converted.encode(sound, return_dict=False)
        if found[0].shape != expected.shape:
            raise _difference(f"codes [batch, codebooks, frames] have the shape {list(found[0].shape)} in "
                              f"transformers, {list(expected.shape)} in AudioCraft")
        different = int((found[0] != expected).sum())
        if different:
            raise _difference(f"{different} of {expected.numel()} codes differ")
        audio = reference.decode(expected, scale)
        samples = converted.decode(found, scales, return_dict=False)[0]
    if samples.shape != audio.shape or converted.config.sampling_rate != reference.sample_rate:
        raise _difference(f"{list(samples.shape)} samples at {converted.config.sampling_rate} Hz in transformers, "
                          f"{list(audio.shape)} at {reference.sample_rate} Hz in AudioCraft")
    difference = float((samples - audio).abs().max())
    if not difference <= TOLERANCE:  # also false for NaN
        raise _difference(f"decoded samples differ by up to {difference:.3g} (tolerance {TOLERANCE:g})")
    return Agreement(expected.numel(), difference)


def load_audiocraft_codec(tensors: Mapping[str, LazyTensor], config: Config) -> Any:
    """Build AudioCraft's compression model with the weights of an EncodecModel.

    Args:
        tensors: the weights by their names in transformers.
        config: the configuration (xp.cfg) of the compression model.

    Raises:
        CheckpointError: if the weights do not match the configuration.
        ReleaseError: if AudioCraft is not installed, or cannot build the model.
    """
    state = from_encodec(tensors, config)
    from omegaconf import OmegaConf
    builders = import_audiocraft("models.builders")
    cfg = OmegaConf.create({**config.values, "device": "cpu"})
    with _building("AudioCraft"):
        with torch.random.fork_rng(devices=[]):  # keeps the random state of a training
            model = builders.get_compression_model(cfg)
        model.load_state_dict({name: to_torch(tensor) for name, tensor in state.items()})
    return model.eval()


def load_transformers_codec(folder: Path) -> Any:
    """Load the EncodecModel of a folder with transformers.

    Raises:
        ReleaseError: if transformers cannot load it, or weights are missing or unexpected.
    """
    with _building("transformers"):
        model, wrong = load_strictly("AutoModel", folder, dtype=torch.float32, local_files_only=True)
    if type(model).__name__ != ARCHITECTURE:
        wrong.insert(0, f"it is a {type(model).__name__}")
    if wrong:
        raise ReleaseError("load-failed", f"{folder} does not load in transformers as a complete {ARCHITECTURE}: "
                           f"{listing(wrong)}", "do not use this release, export again")
    return model


def waveforms(sample_rate: int, channels: int) -> Any:
    """Generate two test sounds of tones and noise that end in the middle of a frame.

    Returns:
        Samples [2, channels, samples].
    """
    count = sample_rate + sample_rate // 7
    noise = torch.randn(len(VOLUMES), channels, count, generator=torch.Generator().manual_seed(0))
    time = torch.arange(count) / sample_rate
    tones = torch.stack([torch.sin(2 * math.pi * pitch * time) for pitch in PITCHES]).mean(0)
    return torch.tensor(VOLUMES)[:, None, None] * (tones + noise / 8)


def _difference(how: str) -> ReleaseError:
    return ReleaseError("load-mismatch", f"{ARCHITECTURE} of transformers does not reproduce AudioCraft's codec: {how}",
                        f"do not use this release; {USE}")


def _building(library: str) -> AbstractContextManager[None]:
    return explain_errors(lambda message: ReleaseError(
        "load-failed", f"{library} cannot load the codec of this release: {message}", SKIP))
