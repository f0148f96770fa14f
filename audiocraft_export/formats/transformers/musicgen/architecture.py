"""What a language model of AudioCraft is in transformers, by its configuration; what has no place there is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

from ....errors import CheckpointError
from ....experiment.config import Config
from ..model_files import USE
from .constraints import (
    CONDITIONERS,
    LANGUAGE_MODELS,
    MELODY,
    MELODY_SIZES,
    SIZES,
    TEXT,
    number,
    refusal,
    refuse_family,
    refuse_settings,
    refuse_sizes,
    refuse_unknown,
)

TEXT_MODEL = "MusicgenForConditionalGeneration"
MELODY_MODEL = "MusicgenMelodyForConditionalGeneration"
DECODER_ALONE = "MusicgenForCausalLM"
T5_SIZES = {"small": 512, "base": 768, "large": 1024, "3b": 1024, "11b": 1024}  # T5Conditioner.MODELS_DIMS


@dataclass(frozen=True)
class Layout:
    """What a language model consists of.

    Args:
        architecture: the class of transformers that loads it.
        text: name of the T5 conditioner.
        melody: name of the chroma conditioner.
        finetuned: whether the T5 was trained, too, so that its weights are in the checkpoint.
        cross: whether the layers have cross attention.
        fused: whether AudioCraft's own attention was used, and not torch's, whose names have `.mha.`.
        widened: whether the T5 has the size of the decoder and gets some more channels (`wider`).
    """

    architecture: str
    text: Optional[str] = None
    melody: Optional[str] = None
    finetuned: bool = False
    cross: bool = False
    fused: bool = True
    widened: bool = False

    @property
    def prefix(self) -> str:
        """What stands before the names of the decoder."""
        return "" if self.architecture == DECODER_ALONE else "decoder."


def layout_of(config: Config) -> Layout:
    """What a language model is in transformers.

    Args:
        config: of the experiment.

    Raises:
        CheckpointError: if transformers cannot represent it; the message says why, and which format works.
    """
    _refuse_decoder(config)
    cross, before = _names(config, "fuser.cross"), _names(config, "fuser.prepend")
    models = conditioners(config)
    if sorted(models) != sorted([*cross, *before]):
        raise refusal("conditioners", ", ".join(models) or "none", "the fuser names others, so that AudioCraft itself "
                      "cannot run it")
    fused = bool(config.get("transformer_lm.custom") or config.get("transformer_lm.memory_efficient"))
    if not before and set(models.values()) <= {"lut"}:
        return Layout(DECODER_ALONE, cross=_has_cross(config, cross), fused=fused)
    if not before and list(models.values()) == ["t5"]:
        return _with_text(config, Layout(TEXT_MODEL, cross[0], cross=True, fused=fused))
    if not cross and sorted(models.values()) == ["chroma_stem", "t5"]:
        text, melody = sorted(models, key=lambda name: models[name] != "t5")
        _refuse_melody(config, melody)
        return _with_text(config, Layout(MELODY_MODEL, text, melody, cross=_has_cross(config, cross), fused=fused))
    raise _refused_conditions(models, cross)


def conditioners(config: Config) -> dict[str, str]:
    """The kind of each conditioner by its name."""
    values = config.get("conditioners", {})
    names = [str(name) for name in values if name != "args"] if isinstance(values, Mapping) else []
    return {name: str(config.get(f"conditioners.{name}.model")) for name in names}


def is_stereo(config: Config) -> bool:
    """Whether left and right have codebooks of their own, in turns."""
    return bool(config.get("interleave_stereo_codebooks.use"))


def _refuse_decoder(config: Config) -> None:
    refuse_family(config)
    refuse_settings(config, LANGUAGE_MODELS)
    refuse_unknown(config, LANGUAGE_MODELS)
    refuse_sizes(config, SIZES)
    size = config.get("transformer_lm.dim", 128)
    if size % 2 or size < 4:
        raise refusal("transformer_lm.dim", size, "its sines and cosines need an even number from 4 on")
    number(config, "transformer_lm.hidden_scale", 1 / size, 1 << 10, 4)
    _refuse_pattern(config)


def _refuse_pattern(config: Config) -> None:
    count = config.get("transformer_lm.n_q", 8)
    wanted = [step for step in range(count // 2) for _ in "lr"] if is_stereo(config) else list(range(count))
    modeling = config.get("codebooks_pattern.modeling") or config.get("transformer_lm.q_modeling")
    delays = [0] * count if modeling == "parallel" else config.get("codebooks_pattern.delay.delays", list(range(count)))
    if modeling not in ("delay", "parallel"):
        raise refusal("codebooks_pattern.modeling", modeling, "transformers' MusicGen delays its codebooks")
    if delays != wanted:
        raise refusal("codebooks_pattern", f"{modeling} with the delays {delays}", "transformers' MusicGen delays "
                      f"these codebooks by {wanted}")


def _with_text(config: Config, layout: Layout) -> Layout:
    number(config, "classifier_free_guidance.inference_coef", 1, 1 << 10, 1)  # it guides by more than 1 only
    number(config, "dataset.segment_duration", 0.1, 1 << 16)
    refuse_settings(config, TEXT, str(layout.text))
    refuse_unknown(config, TEXT, str(layout.text))
    encoder, size = str(config.get(f"conditioners.{layout.text}.t5.name")), config.get("transformer_lm.dim", 128)
    finetuned = bool(config.get(f"conditioners.{layout.text}.t5.finetune"))
    widened = T5_SIZES.get(encoder.rpartition("-")[2]) == size
    if finetuned and widened:
        raise refusal("transformer_lm.dim", size, f"{encoder} has the same size, and transformers then leaves out the "
                      "projection between them; one that was finetuned cannot be made wider to the last bit")
    return replace(layout, finetuned=finetuned, widened=widened)


def _refuse_melody(config: Config, name: str) -> None:
    refuse_settings(config, MELODY, name)
    refuse_sizes(config, MELODY_SIZES, name)
    refuse_unknown(config, MELODY, name)
    if config.get(f"conditioners.{name}.chroma_stem.n_chroma") == config.get("transformer_lm.dim"):
        raise refusal("transformer_lm.dim", config.get("transformer_lm.dim"), "n_chroma is the same, and transformers "
                      "then leaves out the projection between them, which AudioCraft always has")


def _has_cross(config: Config, cross: list[str]) -> bool:
    has = bool(cross) or bool(config.get("transformer_lm.cross_attention"))
    if has and not cross:
        raise refusal("transformer_lm.cross_attention", True, "no condition goes there, so that AudioCraft itself "
                      "cannot run it")
    return has


def _names(config: Config, key: str) -> list[str]:
    values = config.get(key, [])
    return [str(value) for value in values] if isinstance(values, list) else [str(values)]


def _refused_conditions(models: Mapping[str, str], cross: list[str]) -> CheckpointError:
    why = next((CONDITIONERS[model] for model in models.values() if model in CONDITIONERS),
               "transformers' MusicGen has one T5 in cross attention, or a T5 and the chroma of a melody before the "
               "music, or no condition of its own")
    said = ", ".join(f"{name} ({model}) in {'cross' if name in cross else 'prepend'}" for name, model in models.items())
    return CheckpointError(f"The conditions of this model ({said}) cannot be released for transformers ({why}): {USE}")
