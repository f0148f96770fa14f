"""Whether the codec that transformers loads does what AudioCraft's does: the same codes, and the same audio of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..config import Config
from ..errors import ReleaseError, listing
from ..memory import LivingState
from ..tensor import Tensor
from .encodec import ARCHITECTURE, audiocraft_codec_state

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
        ReleaseError: if one of them cannot be built, or they differ; the message has the numbers.
    """
    theirs = audiocraft_codec(_stored(folder), Config.load(folder / CONFIG))
    return compare(theirs, transformers_codec(folder))


def audiocraft_codec(tensors: Mapping[str, Tensor], config: Config) -> Any:
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
    try:
        from audiocraft.models import builders
    except ImportError as exc:
        raise ReleaseError(f"verify=load needs AudioCraft, which cannot be imported here ({exc}): install it, or use "
                           "verify=bytes.") from exc
    cfg = OmegaConf.create({**config.values, "device": "cpu"})
    try:
        with torch.random.fork_rng(devices=[]):  # a training may go on after this
            model = builders.get_compression_model(cfg)
        model.load_state_dict({name: _in_memory(tensor) for name, tensor in state.items()})
    except Exception as exc:  # whatever AudioCraft stumbles over is the answer
        raise _stumbles("AudioCraft", exc) from exc
    return model.eval()


def transformers_codec(folder: Path) -> Any:
    """The EncodecModel of a folder, in float32.

    Raises:
        ReleaseError: if transformers does not load it as it is.
    """
    import torch

    from .loading import load_strictly
    try:
        model, wrong = load_strictly("AutoModel", folder, dtype=torch.float32, local_files_only=True)
    except Exception as exc:  # whatever transformers stumbles over is the answer
        raise _stumbles("transformers", exc) from exc
    if wrong or type(model).__name__ != ARCHITECTURE:
        raise ReleaseError(f"transformers does not find the weights of an {ARCHITECTURE} in {folder}, but a "
                           f"{type(model).__name__} ({listing(wrong) or 'complete'}): do not use it, export again.")
    return model


def compare(theirs: Any, ours: Any) -> Agreement:
    """Encode and decode the same sound with both.

    Args:
        theirs: a compression model of AudioCraft, in float32.
        ours: an EncodecModel of transformers, in float32.

    Raises:
        ReleaseError: if the codes are not equal, or samples differ by more than `TOLERANCE`; with the numbers.
    """
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


def waveforms(sample_rate: int, channels: int) -> Any:
    """Two sounds of tones and noise, the same each time, that no number of frames fills: [2, channels, samples]."""
    import torch
    count = sample_rate + sample_rate // 7
    noise = torch.randn(len(VOLUMES), channels, count, generator=torch.Generator().manual_seed(0))
    time = torch.arange(count) / sample_rate
    tones = torch.stack([torch.sin(2 * math.pi * pitch * time) for pitch in PITCHES]).mean(0)
    return torch.tensor(VOLUMES)[:, None, None] * (tones + noise / 8)


def _check_codes(expected: Any, found: Any) -> None:
    if found.shape != expected.shape:
        raise _differs(f"codes [batch, codebooks, frames] are {list(found.shape)} of transformers, "
                       f"{list(expected.shape)} of AudioCraft")
    different = int((found != expected).sum())
    if different:
        raise _differs(f"{different} of {expected.numel()} codes differ")


def _stored(folder: Path) -> Mapping[str, Tensor]:
    """What the files of safetensors in a folder hold."""
    from safetensors.torch import load_file
    tensors = {name: tensor for path in sorted(folder.glob("*.safetensors"))
               for name, tensor in load_file(path).items()}
    described: Mapping[str, Tensor] = LivingState({"model": SimpleNamespace(state_dict=lambda: tensors)})["model"]
    return described


def _in_memory(tensor: Tensor) -> Any:
    import torch
    data = bytearray(tensor.own_bytes.checked())
    return torch.frombuffer(data, dtype=getattr(torch, tensor.dtype)).reshape(tensor.shape)


def _stumbles(library: str, exc: Exception) -> ReleaseError:
    said = f"{type(exc).__name__}: {' '.join(str(exc).split())}"
    return ReleaseError(f"{library} builds no codec of this release ({said}): mend what it stumbles over, or use "
                        "format=safetensors, or format=audiocraft.")


def _differs(how: str) -> ReleaseError:
    return ReleaseError(f"{ARCHITECTURE} of transformers is not the codec that AudioCraft trained ({how}): do not use "
                        "it, use format=safetensors, or format=audiocraft.")
