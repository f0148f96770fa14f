"""Whether the codec that transformers loads does what AudioCraft's does: the same codes, and the same audio of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....checkpoint.torch_tensors import from_torch
from ....errors import ReleaseError
from ....experiment.config import Config
from ..loading import stored
from .convert import ARCHITECTURE
from .loading import audiocraft_codec, transformers_codec

CONFIG = "config.yaml"
TOLERANCE = 1e-4  # of a sample, full scale being 1, in float32
PITCHES = (110.0, 277.2, 1318.5)  # Hz
VOLUMES = (0.5, 0.05)  # of the two waveforms: a codec may normalize them


@dataclass(frozen=True)
class Agreement:
    """What was compared.

    Args:
        codes: number of codes, all of them equal.
        audio: the largest difference between two samples of the decoded audio.
    """

    codes: int
    audio: float


def prove_encodec(folder: Path) -> Agreement:
    """Compare AudioCraft's model and transformers' on the weights of a folder.

    Args:
        folder: with model.safetensors (or its shards), config.json, and config.yaml, the text of xp.cfg.

    Raises:
        CheckpointError: if config.yaml is not that of such a codec.
        ReleaseError: if one of them cannot be built, or they differ; the message has the numbers.
    """
    theirs = audiocraft_codec(from_torch(stored(folder)), Config.load(folder / CONFIG))
    return compare(theirs, transformers_codec(folder))


def compare(theirs: Any, ours: Any) -> Agreement:
    """Encode and decode the same sound with both.

    Args:
        theirs: a compression model of AudioCraft, in float32.
        ours: an EncodecModel of transformers, in float32.

    Raises:
        ReleaseError: if the codes are not equal, or samples differ by more than `TOLERANCE`; with the numbers.
    """
    try:
        return _compared(theirs, ours)
    except ReleaseError:
        raise
    except Exception as exc:  # whatever either library stumbles over is the answer
        raise _differs(f"{type(exc).__name__}: {' '.join(str(exc).split())}") from exc


def waveforms(sample_rate: int, channels: int) -> Any:
    """Two sounds of tones and noise, the same each time, that no number of frames fills: [2, channels, samples]."""
    import torch
    count = sample_rate + sample_rate // 7
    noise = torch.randn(len(VOLUMES), channels, count, generator=torch.Generator().manual_seed(0))
    time = torch.arange(count) / sample_rate
    tones = torch.stack([torch.sin(2 * math.pi * pitch * time) for pitch in PITCHES]).mean(0)
    return torch.tensor(VOLUMES)[:, None, None] * (tones + noise / 8)


def _compared(theirs: Any, ours: Any) -> Agreement:
    import torch
    sound = waveforms(theirs.sample_rate, theirs.channels)
    with torch.inference_mode():
        expected, scale = theirs.encode(sound)
        found, scales, _ = ours.encode(sound, return_dict=False)
        _check_codes(expected, found[0])
        audio = theirs.decode(expected, scale)
        samples = ours.decode(found, scales, return_dict=False)[0]
    if samples.shape != audio.shape or ours.config.sampling_rate != theirs.sample_rate:
        raise _differs(f"{list(samples.shape)} samples at {ours.config.sampling_rate} Hz of transformers, "
                       f"{list(audio.shape)} at {theirs.sample_rate} Hz of AudioCraft")
    difference = float((samples - audio).abs().max())
    if not difference <= TOLERANCE:  # it may be NaN
        raise _differs(f"decoded samples differ by up to {difference:.3g}, more than {TOLERANCE:g}")
    return Agreement(expected.numel(), difference)


def _check_codes(expected: Any, found: Any) -> None:
    if found.shape != expected.shape:
        raise _differs(f"codes [batch, codebooks, frames] are {list(found.shape)} of transformers, "
                       f"{list(expected.shape)} of AudioCraft")
    different = int((found != expected).sum())
    if different:
        raise _differs(f"{different} of {expected.numel()} codes differ")


def _differs(how: str) -> ReleaseError:
    return ReleaseError(f"{ARCHITECTURE} of transformers is not the codec that AudioCraft trained ({how}): do not use "
                        "it, use format=safetensors, or format=audiocraft.")
