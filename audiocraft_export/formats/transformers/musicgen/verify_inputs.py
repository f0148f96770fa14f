"""Build the same conditions (text, melody) for the language models of AudioCraft and of transformers."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .architecture import DECODER_ALONE, Layout

TEST_PROMPT = "happy rock"


class Conditions(ABC):
    """The same conditions for the model of AudioCraft (`lm`) and the model of transformers (`model`)."""

    def __init__(self, lm: Any, model: Any, wav: dict[str, Any]) -> None:
        from audiocraft.modules.conditioners import ConditioningAttributes
        self.lm, self.model = lm, model
        provider = lm.condition_provider
        attributes = ConditioningAttributes(text=dict.fromkeys(provider.text_conditions, TEST_PROMPT), wav=wav)
        self.attributes = [attributes] if len(provider.conditioners) else []
        self.tensors: dict[str, Any] = provider(provider.tokenize(self.attributes)) if self.attributes else {}

    @abstractmethod
    def logits(self, codes: torch.Tensor) -> torch.Tensor:
        """Compute the logits of transformers.

        Args:
            codes: codes [1, n_q, steps].

        Returns:
            Logits [n_q, steps, card], where steps include those of prepended conditions.
        """

    @abstractmethod
    def music(self, frames: int, scale: float) -> torch.Tensor:
        """Generate codes [1, n_q, frames] greedily with transformers and a guidance scale."""

    def length(self, frames: int) -> int:
        """Return the number of steps of the delayed sequence."""
        decoder = getattr(self.model, "decoder", self.model)
        delay = self.lm.n_q // 2 if decoder.config.audio_channels == 2 else self.lm.n_q
        return int(frames + delay)


class _Composite(Conditions):
    """Conditions of a model with a text encoder and optionally a melody."""

    def __init__(self, folder: Path, layout: Layout, lm: Any, model: Any) -> None:
        from transformers import AutoProcessor
        wav, audio = {}, {}
        if layout.melody:
            conditioner = lm.condition_provider.conditioners[layout.melody]
            generator = torch.Generator().manual_seed(0)
            melody = torch.randn(3 * conditioner.chroma.winlen, generator=generator)  # noise, longer than a window
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

        def record(codes: torch.Tensor, **_: Any) -> Any:  # called instead of the decoder of the codec
            recorded.append(codes[0])
            return SimpleNamespace(audio_values=torch.zeros(len(codes[0]), 1, 1))

        decode = self.model.audio_encoder.decode
        self.model.audio_encoder.decode = record
        try:
            self.model.generate(**self.inputs, do_sample=False, guidance_scale=scale, max_length=self.length(frames))
        finally:
            self.model.audio_encoder.decode = decode
        return torch.stack(recorded, dim=2).flatten(1, 2)  # interleaves left and right channel


class _Alone(Conditions):
    """Conditions of a decoder without text encoder: the states that AudioCraft's conditioners compute."""

    def __init__(self, lm: Any, model: Any) -> None:
        super().__init__(lm, model, {})
        self.states = self._states([*self.attributes]) if self.attributes else None

    def _states(self, attributes: list[Any]) -> torch.Tensor:
        """Return the states that AudioCraft's decoder attends to."""
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
        mask = torch.ones(1, 1, dtype=torch.long)  # transformers would treat the first token as padding
        music: torch.Tensor = self.model.generate(start, attention_mask=mask, do_sample=False, guidance_scale=scale,
                                                  max_length=self.length(frames), **states)
        return music


def build_conditions(folder: Path, layout: Layout, lm: Any, model: Any) -> Conditions:
    """Create the conditions for AudioCraft's model (`lm`) and that of transformers (`model`)."""
    if layout.architecture == DECODER_ALONE:
        return _Alone(lm, model)
    return _Composite(folder, layout, lm, model)


def _wav_condition(conditioner: Any, melody: torch.Tensor) -> Any:
    """Return a melody for AudioCraft, and set up its conditioner as MusicGen.get_pretrained does."""
    from audiocraft.modules.conditioners import WavCondition
    conditioner.match_len_on_eval, conditioner._use_masking = True, False
    conditioner._get_stemmed_wav = lambda wav, sample_rate: wav  # both libraries expect stems that demucs has separated
    return WavCondition(melody[None, None], torch.tensor([len(melody)]), [conditioner.sample_rate], [None], [None])
