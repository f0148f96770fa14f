"""Which class and which parts a language model of AudioCraft has in transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

from ....errors import CheckpointError
from ....experiment.config import Config
from ..model_files import USE
from .constraints import (
    DECODER_SETTINGS,
    MELODY_SETTINGS,
    TEXT_SETTINGS,
    check_number,
    refusal,
    refuse_settings,
)

TEXT_MODEL = "MusicgenForConditionalGeneration"
MELODY_MODEL = "MusicgenMelodyForConditionalGeneration"
DECODER_ALONE = "MusicgenForCausalLM"
CONDITIONERS = {  # that transformers does not have
    "clap": "transformers' MusicGen has no CLAP", "style": "transformers' MusicGen has no style conditioner"}
T5_SIZES = {"small": 512, "base": 768, "large": 1024, "3b": 1024, "11b": 1024}  # T5Conditioner.MODELS_DIMS


@dataclass(frozen=True)
class Layout:
    """The parts of a language model."""

    architecture: str  # the transformers class that loads it
    text: Optional[str] = None  # name of the T5 conditioner
    melody: Optional[str] = None  # name of the chroma conditioner
    finetuned: bool = False  # the T5 was trained as well, so that its weights are in the checkpoint
    cross: bool = False  # the layers have cross attention
    fused: bool = True  # the attention is AudioCraft's own, and not torch's, whose names have `.mha.`
    pads_t5: bool = False  # the T5 has the size of the decoder and gets more channels (`t5_padding`)


def layout_of(config: Config) -> Layout:
    """The parts of the language model of an experiment.

    Raises:
        CheckpointError: if transformers cannot represent it; the message says why, and which format works.
    """
    _refuse_decoder(config)
    models, cross, prepend = _conditioners(config), _names(config, "fuser.cross"), _names(config, "fuser.prepend")
    if sorted(models) != sorted([*cross, *prepend]):
        raise refusal("conditioners", ", ".join(models) or "none", "the fuser names others, so that AudioCraft itself "
                      "cannot run it")
    kinds = sorted(models.values())
    fused = bool(config.get("transformer_lm.custom") or config.get("transformer_lm.memory_efficient"))
    if not prepend and set(kinds) <= {"lut"}:
        return Layout(DECODER_ALONE, cross=_has_cross(config, cross), fused=fused)
    if not prepend and kinds == ["t5"]:
        return _check_text(config, Layout(TEXT_MODEL, cross[0], cross=True, fused=fused))
    if not cross and kinds == ["chroma_stem", "t5"]:
        text, melody = sorted(models, key=lambda name: models[name] != "t5")
        _refuse_melody(config, melody)
        return _check_text(config, Layout(MELODY_MODEL, text, melody, cross=_has_cross(config, cross), fused=fused))
    why = next((CONDITIONERS[kind] for kind in models.values() if kind in CONDITIONERS),
               "transformers' MusicGen has one T5 in cross attention, or a T5 and the chroma of a melody before the "
               "music, or no condition of its own")
    said = ", ".join(f"{name} ({kind}) in {'cross' if name in cross else 'prepend'}" for name, kind in models.items())
    raise CheckpointError(f"The conditions of this model ({said}) cannot be released for transformers ({why}): {USE}")


def is_stereo(config: Config) -> bool:
    """Whether left and right have their own codebooks, interleaved."""
    return bool(config.get("interleave_stereo_codebooks.use"))


def _refuse_decoder(config: Config) -> None:
    refuse_settings(config, DECODER_SETTINGS)
    size = config.get("transformer_lm.dim", 128)
    if size % 2 or size < 4:
        raise refusal("transformer_lm.dim", size, "its sines and cosines need an even number from 4 on")
    check_number(config, "transformer_lm.hidden_scale", 1 / size, 1 << 10, 4)
    count = config.get("transformer_lm.n_q", 8)
    modeling = config.get("codebooks_pattern.modeling") or config.get("transformer_lm.q_modeling")
    if modeling not in ("delay", "parallel"):
        raise refusal("codebooks_pattern.modeling", modeling, "transformers' MusicGen delays its codebooks")
    needed = [index // 2 for index in range(count // 2 * 2)] if is_stereo(config) else list(range(count))
    delays = config.get("codebooks_pattern.delay.delays", list(range(count))) if modeling == "delay" else [0] * count
    if delays != needed:
        raise refusal("codebooks_pattern", f"{modeling} with the delays {delays}", "transformers' MusicGen delays "
                      f"these codebooks by {needed}")


def _check_text(config: Config, layout: Layout) -> Layout:
    """The layout with what is known of its T5."""
    check_number(config, "classifier_free_guidance.inference_coef", 1, 1 << 10, 1)  # it guides by more than 1 only
    check_number(config, "dataset.segment_duration", 0.1, 1 << 16)
    refuse_settings(config, TEXT_SETTINGS, str(layout.text))
    encoder, size = str(config.get(f"conditioners.{layout.text}.t5.name")), config.get("transformer_lm.dim", 128)
    finetuned = bool(config.get(f"conditioners.{layout.text}.t5.finetune"))
    same_size = T5_SIZES.get(encoder.rpartition("-")[2]) == size
    if finetuned and same_size:
        raise refusal("transformer_lm.dim", size, f"{encoder} has the same size, and transformers then leaves out the "
                      "projection between them; one that was finetuned cannot be made wider to the last bit")
    return replace(layout, finetuned=finetuned, pads_t5=same_size)


def _refuse_melody(config: Config, name: str) -> None:
    refuse_settings(config, MELODY_SETTINGS, name)
    size = config.get("transformer_lm.dim")
    if config.get(f"conditioners.{name}.chroma_stem.n_chroma") == size:
        raise refusal("transformer_lm.dim", size, "n_chroma is the same, and transformers then leaves out the "
                      "projection between them, which AudioCraft always has")


def _has_cross(config: Config, cross: list[str]) -> bool:
    if config.get("transformer_lm.cross_attention") and not cross:
        raise refusal("transformer_lm.cross_attention", True, "no condition goes there, so that AudioCraft itself "
                      "cannot run it")
    return bool(cross)


def _conditioners(config: Config) -> dict[str, str]:
    """The kind of each conditioner by its name."""
    values = config.get("conditioners", {})
    names = [str(name) for name in values if name != "args"] if isinstance(values, Mapping) else []
    return {name: str(config.get(f"conditioners.{name}.model")) for name in names}


def _names(config: Config, key: str) -> list[str]:
    values = config.get(key, [])
    return [str(value) for value in values] if isinstance(values, list) else [str(values)]
