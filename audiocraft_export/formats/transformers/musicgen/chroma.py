"""The melody before the music: chroma of AudioCraft's ChromaStemConditioner in transformers' MusicGen Melody."""

from __future__ import annotations

from math import ceil
from typing import Any

from ....experiment.config import Config

STEMS = [3, 2]  # vocals and other, where demucs has them


def chroma_config(config: Config, name: str) -> dict[str, Any]:
    """What MusicgenMelodyConfig has to know of the chroma.

    Args:
        config: of the experiment.
        name: of the conditioner.
    """
    window, hop = _window(config, name)
    samples = max(int(_chroma(config, name, "sample_rate") * config.get("dataset.segment_duration")), window)
    return {"num_chroma": _chroma(config, name, "n_chroma"), "chroma_length": 1 + samples // hop}


def chroma_extractor(config: Config, name: str) -> dict[str, Any]:
    """The values of MusicgenMelodyFeatureExtractor.

    Args:
        config: of the experiment.
        name: of the conditioner.
    """
    window, hop = _window(config, name)
    rate, bins = _chroma(config, name, "sample_rate"), _chroma(config, name, "n_chroma")
    longest = ceil(config.get("dataset.segment_duration") + window / 2 / rate)  # what the last frame can see
    return {"feature_extractor_type": "MusicgenMelodyFeatureExtractor", "processor_class": "MusicgenMelodyProcessor",
            "feature_size": bins, "num_chroma": bins, "sampling_rate": rate, "n_fft": window, "hop_length": hop,
            "chunk_length": longest, "stem_indices": STEMS, "padding_side": "right", "padding_value": 0.0,
            "return_attention_mask": False}


def _window(config: Config, name: str) -> tuple[int, int]:
    """Samples of a window, and from one to the next."""
    window = 2 ** int(_chroma(config, name, "radix2_exp"))
    return window, int(_chroma(config, name, "winhop") or window // 4)


def _chroma(config: Config, name: str, key: str) -> Any:
    return config.get(f"conditioners.{name}.chroma_stem.{key}")
