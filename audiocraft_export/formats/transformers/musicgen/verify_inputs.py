"""What a model is conditioned on, as both implementations see it: the same text, the same melody."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .architecture import DECODER_ALONE, Layout

WORDS = "happy rock"


class Conditions(ABC):
    """Conditions of AudioCraft's model, and what transformers makes of the same.

    Args:
        folder: of the release.
        layout: of the model.
        lm: AudioCraft's.
        model: that of transformers.
    """

    def __init__(self, folder: Path, layout: Layout, lm: Any, model: Any) -> None:
        from audiocraft.modules.conditioners import ConditioningAttributes
        self.folder, self.layout, self.lm, self.model = folder, layout, lm, model
        provider = lm.condition_provider
        attributes = ConditioningAttributes(text=dict.fromkeys(provider.text_conditions, WORDS), wav=self.wav())
        self.attributes = [attributes] if len(provider.conditioners) else []
        self.tensors: dict[str, Any] = provider(provider.tokenize(self.attributes)) if self.attributes else {}

    def wav(self) -> dict[str, Any]:
        """The melody, for AudioCraft."""
        return {}

    @abstractmethod
    def logits(self, codes: torch.Tensor) -> torch.Tensor:
        """The logits of transformers.

        Args:
            codes: of shape [1, n_q, steps].

        Returns:
            of shape [n_q, steps, card], with those of the condition before them.
        """

    @abstractmethod
    def music(self, frames: int, scale: float) -> torch.Tensor:
        """What transformers generates greedily.

        Args:
            frames: how much.
            scale: of the guidance.

        Returns:
            codes of shape [1, n_q, frames].
        """

    def length(self, frames: int) -> int:
        """Steps of the delayed sequence of so many frames."""
        delay = self.lm.n_q // 2 if _decoder(self.model).config.audio_channels == 2 else self.lm.n_q
        return int(frames + delay)


class Composite(Conditions):
    """Of a model with a text encoder, and maybe with a melody before the music."""

    def __init__(self, folder: Path, layout: Layout, lm: Any, model: Any) -> None:
        self.melody = _melody(lm, layout) if layout.melody else None
        super().__init__(folder, layout, lm, model)
        from transformers import AutoProcessor
        processor: Any = AutoProcessor
        audio = {} if self.melody is None else {
            "audio": self.melody.numpy(), "sampling_rate": self._conditioner.sample_rate}
        self.inputs = processor.from_pretrained(folder)(text=[WORDS], return_tensors="pt", **audio)

    @property
    def _conditioner(self) -> Any:
        return self.lm.condition_provider.conditioners[self.layout.melody]

    def wav(self) -> dict[str, Any]:
        """The melody, for AudioCraft, as MusicGen.get_pretrained has it understood."""
        from audiocraft.modules.conditioners import WavCondition
        if self.melody is None or self.layout.melody is None:
            return {}
        conditioner = self._conditioner
        conditioner.match_len_on_eval, conditioner._use_masking = True, False
        conditioner._get_stemmed_wav = lambda wav, sample_rate: wav  # demucs comes before, in both
        wav = WavCondition(self.melody[None, None], torch.tensor([len(self.melody)]), [conditioner.sample_rate], [None],
                           [None])
        return {self.layout.melody: wav}

    def logits(self, codes: torch.Tensor) -> torch.Tensor:
        """As `Conditions.logits`."""
        logits: torch.Tensor = self.model(**self.inputs, decoder_input_ids=codes[0]).logits
        return logits

    def music(self, frames: int, scale: float) -> torch.Tensor:
        """As `Conditions.music`; the codes are taken where they are given to the codec."""
        seen: list[torch.Tensor] = []
        decode = self.model.audio_encoder.decode
        self.model.audio_encoder.decode = lambda codes, **_: _seen(codes, seen)
        try:
            self.model.generate(**self.inputs, do_sample=False, guidance_scale=scale, max_length=self.length(frames))
        finally:
            self.model.audio_encoder.decode = decode
        return torch.stack(seen, dim=2).flatten(1, 2)  # left and right in turns


class Alone(Conditions):
    """Of a decoder alone: what its own conditioners make of the text is given to it."""

    def __init__(self, folder: Path, layout: Layout, lm: Any, model: Any) -> None:
        super().__init__(folder, layout, lm, model)
        self.states = self._states([*self.attributes]) if self.attributes else None

    def _states(self, attributes: list[Any]) -> torch.Tensor:
        provider = self.lm.condition_provider
        nothing = torch.zeros(len(attributes), 1, self.lm.dim)
        states: torch.Tensor = self.lm.fuser(nothing, provider(provider.tokenize(attributes)))[1]
        return states

    def logits(self, codes: torch.Tensor) -> torch.Tensor:
        """As `Conditions.logits`."""
        logits: torch.Tensor = self.model(input_ids=codes[0], encoder_hidden_states=self.states).logits
        return logits

    def music(self, frames: int, scale: float) -> torch.Tensor:
        """As `Conditions.music`."""
        from audiocraft.modules.conditioners import ClassifierFreeGuidanceDropout
        states = {}
        if self.attributes:
            nulls = ClassifierFreeGuidanceDropout(p=1.0)(self.attributes) if scale > 1 else []
            states = {"encoder_hidden_states": self._states([*self.attributes, *nulls])}
        start = torch.full((self.lm.n_q, 1), self.lm.card)
        seen = torch.ones(1, 1, dtype=torch.long)  # transformers would take the first token for padding
        music: torch.Tensor = self.model.generate(start, attention_mask=seen, do_sample=False, guidance_scale=scale,
                                                  max_length=self.length(frames), **states)
        return music


def conditions_of(folder: Path, layout: Layout, lm: Any, model: Any) -> Conditions:
    """The conditions of a model.

    Args:
        folder: of the release.
        layout: of the model.
        lm: AudioCraft's.
        model: that of transformers.
    """
    kind = Alone if layout.architecture == DECODER_ALONE else Composite
    return kind(folder, layout, lm, model)


def _melody(lm: Any, layout: Layout) -> torch.Tensor:
    """Some noise, longer than a window of the chroma and shorter than the training's music."""
    chroma = lm.condition_provider.conditioners[layout.melody].chroma
    return torch.randn(3 * chroma.winlen, generator=torch.Generator().manual_seed(0))


def _decoder(model: Any) -> Any:
    return getattr(model, "decoder", model)


def _seen(codes: torch.Tensor, seen: list[torch.Tensor]) -> Any:
    seen.append(codes[0])
    return SimpleNamespace(audio_values=torch.zeros(len(codes[0]), 1, 1))
