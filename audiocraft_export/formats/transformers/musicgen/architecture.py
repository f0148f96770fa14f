"""Choose the transformers class and its parts for a language model of AudioCraft."""

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
CONDITIONERS = {  # conditioners without a counterpart in transformers
    "clap": "it lacks a CLAP conditioner", "style": "it lacks a style conditioner"}
T5_SIZES = {"small": 512, "base": 768, "large": 1024, "3b": 1024, "11b": 1024}  # T5Conditioner.MODELS_DIMS


@dataclass(frozen=True)
class Layout:
    """The transformers class and the parts of a language model."""

    architecture: str  # the transformers class that loads it
    text: Optional[str] = None  # name of the T5 conditioner
    melody: Optional[str] = None  # name of the chroma conditioner
    finetuned: bool = False  # whether the T5 was trained as well, so that the checkpoint has its weights
    cross: bool = False  # whether the layers have cross attention
    fused: bool = True  # whether AudioCraft's own attention is used; names of torch's attention have `.mha.`
    pads_t5: bool = False  # whether the T5 must be padded, because it has the size of the decoder (`t5_padding`)


def layout_of(config: Config) -> Layout:
    """Return the transformers class and the parts for the configuration of a language model.

    Raises:
        CheckpointError: if transformers does not support the model.
    """
    _refuse_decoder(config)
    models, cross, prepend = _conditioners(config), _names(config, "fuser.cross"), _names(config, "fuser.prepend")
    if sorted(models) != sorted([*cross, *prepend]):
        raise refusal("conditioners", ", ".join(models) or "none", "fuser.cross and fuser.prepend list other "
                      "conditioners, so AudioCraft cannot run it either")
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
               "only a T5 in cross, a T5 and a chroma_stem in prepend, or LUTs in cross are supported")
    said = ", ".join(f"{name} ({kind}) in {'cross' if name in cross else 'prepend'}" for name, kind in models.items())
    raise CheckpointError("unsupported-by-transformers",
                          f"MusicGen of transformers does not support the conditioners {said}: {why}", USE)


def is_stereo(config: Config) -> bool:
    """Return whether left and right channel have separate, interleaved codebooks."""
    return bool(config.get("interleave_stereo_codebooks.use"))


def _refuse_decoder(config: Config) -> None:
    """Check the settings of the decoder and the pattern of the codebooks."""
    refuse_settings(config, DECODER_SETTINGS)
    size = config.get("transformer_lm.dim", 128)
    if size % 2 or size < 4:
        raise refusal("transformer_lm.dim", size, "expected an even number of at least 4")
    check_number(config, "transformer_lm.hidden_scale", 1 / size, 1 << 10, 4)
    count = config.get("transformer_lm.n_q", 8)
    modeling = config.get("codebooks_pattern.modeling") or config.get("transformer_lm.q_modeling")
    if modeling not in ("delay", "parallel"):
        raise refusal("codebooks_pattern.modeling", modeling, "only delay and parallel are supported")
    needed = [index // 2 for index in range(count // 2 * 2)] if is_stereo(config) else list(range(count))
    delays = config.get("codebooks_pattern.delay.delays", list(range(count))) if modeling == "delay" else [0] * count
    if delays != needed:
        raise refusal("codebooks_pattern", f"{modeling} with the delays {delays}", "these codebooks must be "
                      f"delayed by {needed}")


def _check_text(config: Config, layout: Layout) -> Layout:
    """Check the settings of the T5, and return the layout with its properties."""
    check_number(config, "classifier_free_guidance.inference_coef", 1, 1 << 10, 1)  # guidance below 1 is not applied
    check_number(config, "dataset.segment_duration", 0.1, 1 << 16)
    refuse_settings(config, TEXT_SETTINGS, str(layout.text))
    encoder, size = str(config.get(f"conditioners.{layout.text}.t5.name")), config.get("transformer_lm.dim", 128)
    finetuned = bool(config.get(f"conditioners.{layout.text}.t5.finetune"))
    same_size = T5_SIZES.get(encoder.rpartition("-")[2]) == size
    if finetuned and same_size:
        raise refusal("transformer_lm.dim", size, f"{encoder} has the same size, so transformers has no projection "
                      "between them, and a finetuned T5 cannot be padded without rounding")
    return replace(layout, finetuned=finetuned, pads_t5=same_size)


def _refuse_melody(config: Config, name: str) -> None:
    """Check the settings of the chroma conditioner."""
    refuse_settings(config, MELODY_SETTINGS, name)
    size = config.get("transformer_lm.dim")
    if config.get(f"conditioners.{name}.chroma_stem.n_chroma") == size:
        raise refusal("transformer_lm.dim", size, "n_chroma has the same value, so transformers has no projection "
                      "between them, but AudioCraft always has one")


def _has_cross(config: Config, cross: list[str]) -> bool:
    """Return whether the decoder has cross attention; raise an error if no conditioner uses it."""
    if config.get("transformer_lm.cross_attention") and not cross:
        raise refusal("transformer_lm.cross_attention", True, "no conditioner uses it (fuser.cross), so AudioCraft "
                      "cannot run it either")
    return bool(cross)


def _conditioners(config: Config) -> dict[str, str]:
    """Return the kinds of the conditioners by name."""
    values = config.get("conditioners", {})
    names = [str(name) for name in values if name != "args"] if isinstance(values, Mapping) else []
    return {name: str(config.get(f"conditioners.{name}.model")) for name in names}


def _names(config: Config, key: str) -> list[str]:
    """Return a setting that is a name or a list of names as a list."""
    values = config.get(key, [])
    return [str(value) for value in values] if isinstance(values, list) else [str(values)]
