"""Condition both implementations of a language model on the same text and the same melody."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .architecture import DECODER_ALONE, Layout

TEST_PROMPT = "happy rock"


class Conditions(ABC):
    """Conditions of AudioCraft's model (`lm`), and what that of transformers computes with the same."""

    def __init__(self, lm: Any, model: Any, wav: dict[str, Any]) -> None:
        from audiocraft.modules.conditioners import ConditioningAttributes
        self.lm, self.model = lm, model
        provider = lm.condition_provider
        attributes = ConditioningAttributes(text=dict.fromkeys(provider.text_conditions, TEST_PROMPT), wav=wav)
        self.attributes = [attributes] if len(provider.conditioners) else []
        self.tensors: dict[str, Any] = provider(provider.tokenize(self.attributes)) if self.attributes else {}

    @abstractmethod
    def logits(self, codes: torch.Tensor) -> torch.Tensor:
        """Logits of transformers for codes [1, n_q, steps], and for the conditions before them: [n_q, steps, card]."""

    @abstractmethod
    def music(self, frames: int, scale: float) -> torch.Tensor:
        """Codes that transformers generates greedily with a guidance scale: [1, n_q, frames]."""

    def length(self, frames: int) -> int:
        """Steps of the delayed sequence."""
        decoder = getattr(self.model, "decoder", self.model)
        delay = self.lm.n_q // 2 if decoder.config.audio_channels == 2 else self.lm.n_q
        return int(frames + delay)


class _Composite(Conditions):
    """Conditions of a model with a text encoder, and possibly a melody."""

    def __init__(self, folder: Path, layout: Layout, lm: Any, model: Any) -> None:
        from transformers import AutoProcessor
        wav, audio = {}, {}
        if layout.melody:
            conditioner = lm.condition_provider.conditioners[layout.melody]
            generator = torch.Generator().manual_seed(0)
            melody = torch.randn(3 * conditioner.chroma.winlen, generator=generator)  # noise of more than a window
            wav = {layout.melody: _wav_condition(conditioner, melody)}
            audio = {"audio": melody.numpy(), "sampling_rate": conditioner.sample_rate}
        super().__init__(lm, model, wav)
        processor: Any = AutoProcessor
        self.inputs = processor.from_pretrained(folder)(text=[TEST_PROMPT], return_tensors="pt", **audio)

    def logits(self, codes: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**self.inputs, decoder_input_ids=codes[0]).logits
        return logits

    def music(self, frames: int, scale: float) -> torch.Tensor:
        recorded: list[torch.Tensor] = []

        def record(codes: torch.Tensor, **_: Any) -> Any:  # in place of the codec
            recorded.append(codes[0])
            return SimpleNamespace(audio_values=torch.zeros(len(codes[0]), 1, 1))

        decode = self.model.audio_encoder.decode
        self.model.audio_encoder.decode = record
        try:
            self.model.generate(**self.inputs, do_sample=False, guidance_scale=scale, max_length=self.length(frames))
        finally:
            self.model.audio_encoder.decode = decode
        return torch.stack(recorded, dim=2).flatten(1, 2)  # left and right interleaved


class _Alone(Conditions):
    """Conditions of a decoder alone: it gets the states that AudioCraft's own conditioners compute."""

    def __init__(self, lm: Any, model: Any) -> None:
        super().__init__(lm, model, {})
        self.states = self._states([*self.attributes]) if self.attributes else None

    def _states(self, attributes: list[Any]) -> torch.Tensor:
        provider = self.lm.condition_provider
        nothing = torch.zeros(len(attributes), 1, self.lm.dim)
        states: torch.Tensor = self.lm.fuser(nothing, provider(provider.tokenize(attributes)))[1]
        return states

    def logits(self, codes: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=codes[0], encoder_hidden_states=self.states).logits
        return logits

    def music(self, frames: int, scale: float) -> torch.Tensor:
        from audiocraft.modules.conditioners import ClassifierFreeGuidanceDropout
        states = {}
        if self.attributes:
            nulls = ClassifierFreeGuidanceDropout(p=1.0)(self.attributes) if scale > 1 else []
            states = {"encoder_hidden_states": self._states([*self.attributes, *nulls])}
        start = torch.full((self.lm.n_q, 1), self.lm.card)
        mask = torch.ones(1, 1, dtype=torch.long)  # transformers would take the first token for padding
        music: torch.Tensor = self.model.generate(start, attention_mask=mask, do_sample=False, guidance_scale=scale,
                                                  max_length=self.length(frames), **states)
        return music


def build_conditions(folder: Path, layout: Layout, lm: Any, model: Any) -> Conditions:
    """Condition AudioCraft's model (`lm`) and that of transformers."""
    if layout.architecture == DECODER_ALONE:
        return _Alone(lm, model)
    return _Composite(folder, layout, lm, model)


def _wav_condition(conditioner: Any, melody: torch.Tensor) -> Any:
    """A melody for AudioCraft; the conditioner handles it as after MusicGen.get_pretrained."""
    from audiocraft.modules.conditioners import WavCondition
    conditioner.match_len_on_eval, conditioner._use_masking = True, False
    conditioner._get_stemmed_wav = lambda wav, sample_rate: wav  # demucs comes before, in both
    return WavCondition(melody[None, None], torch.tensor([len(melody)]), [conditioner.sample_rate], [None], [None])
