"""Settings of a language model that MusicGen of transformers does not support."""

import pytest
from omegaconf import OmegaConf

from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.model_files import USE
from audiocraft_export.formats.transformers.musicgen import constraints
from audiocraft_export.formats.transformers.musicgen.architecture import layout_of
from audiocraft_export.formats.transformers.musicgen.constraints import refuse_family
from audiocraft_export.release.families.registry import family_by_name

from .scene import config, settings


def other_value(rule):
    value = rule.allowed[0]
    return {bool: not value, str: "other", int: 7, type(None): 3, list: ["description"]}[type(value)]


@pytest.mark.parametrize(("kind", "rule"), [
    *(("text", rule) for rule in (*constraints.DECODER_SETTINGS.rules, *constraints.TEXT_SETTINGS.rules)),
    *(("melody", rule) for rule in constraints.MELODY_SETTINGS.rules)], ids=lambda value: getattr(value, "key", value))
def test_every_setting_that_transformers_does_not_have_is_refused_with_its_reason(kind, rule):
    name = "self_wav" if "chroma_stem" in rule.key else "description"
    key = rule.key.format(name)
    with pytest.raises(CheckpointError) as caught:
        layout_of(config(kind, **{key.replace(".", "__"): other_value(rule)}))
    assert str(caught.value).startswith(f"{key}=") and rule.why in str(caught.value)
    assert (caught.value.code, caught.value.hint) == ("unsupported-by-transformers", USE)


@pytest.mark.parametrize("key", ["norm_first", "bias_attn", "bias_ff", "bias_proj", "causal", "activation"])
def test_missing_settings_have_the_defaults_of_audiocraft(key):
    values = settings("text")
    del values.transformer_lm[key]
    if key == "activation":  # relu of nn.TransformerEncoderLayer, which transformers supports
        assert layout_of(Config(OmegaConf.to_container(values)))
    else:
        with pytest.raises(CheckpointError, match=f"transformer_lm.{key}="):
            layout_of(Config(OmegaConf.to_container(values)))


@pytest.mark.parametrize("solver", [*constraints.SOLVERS, "mine", None])
def test_other_families_are_refused_with_the_format_that_works(solver):
    with pytest.raises(CheckpointError, match="cannot be converted to transformers: .*format=safetensors"):
        refuse_family(config("text", solver=solver), family_by_name(solver))
