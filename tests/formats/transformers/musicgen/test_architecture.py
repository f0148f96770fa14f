"""The transformers class and parts of a language model, or the reason why there is no class."""

import pytest

from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.musicgen.architecture import layout_of

from .scene import KINDS, LUT, config


@pytest.mark.parametrize("kind", KINDS)
def test_default_models_of_audiocraft_are_accepted(kind):
    assert layout_of(config(kind)).architecture


@pytest.mark.parametrize(("kind", "changes", "said"), [
    ("text", {"transformer_lm__dim": 512, "conditioners__description__t5__finetune": True},
     "t5-small has the same size"),
    ("melody", {"transformer_lm__dim": 12}, "n_chroma has the same value"),
    ("none", {"transformer_lm__dim": 15}, "expected an even number"),
    ("none", {"transformer_lm__dim": 2}, "expected an even number"),
    ("none", {"transformer_lm__rope_base": 5}, "rope_base=5 .*unknown option"),
    ("text", {"fuser__gate": True}, "fuser.gate=True .*unknown option"),
    ("text", {"conditioners__description__t5__pool": "mean"}, "t5.pool=mean .*unknown option"),
    ("melody", {"conditioners__self_wav__chroma_stem__tuning": 3}, "chroma_stem.tuning=3 .*unknown option"),
    ("none", {"transformer_lm__n_q": 10 ** 9}, "n_q=1000000000 .*integer from 1 to 256"),
    ("none", {"transformer_lm__card": "many"}, "card=many .*integer"),
    ("none", {"transformer_lm__num_layers": None}, "num_layers=None .*integer"),
    ("none", {"transformer_lm__hidden_scale": "big"}, "hidden_scale=big .*a number from"),
    ("none", {"transformer_lm__cross_attention": True}, "no conditioner uses it"),
    ("text", {"dataset__segment_duration": None}, "segment_duration=None .*a number from"),
    ("text", {"classifier_free_guidance__inference_coef": 0.5}, "inference_coef=0.5 .*a number from 1"),
    ("melody", {"conditioners__self_wav__chroma_stem__radix2_exp": 60}, "radix2_exp=60"),
    ("none", {"codebooks_pattern__modeling": "unroll"}, "codebooks_pattern.modeling=unroll"),
    ("none", {"codebooks_pattern__modeling": "parallel"}, r"parallel with the delays \[0, 0, 0, 0\]"),
    ("none", {"codebooks_pattern__delay__delays": [0, 2, 4, 6]}, r"delays \[0, 2, 4, 6\].*by \[0, 1, 2, 3\]"),
    ("none", {"interleave_stereo_codebooks__use": True}, r"by \[0, 0, 1, 1\]"),
    ("text", {"fuser__cross": [], "fuser__prepend": ["description"]}, r"description \(t5\) in prepend"),
    ("text", {"conditioners__genre": LUT, "fuser__cross": ["description", "genre"]}, r"genre \(lut\) in cross"),
    ("text", {"conditioners__genre": LUT}, "fuser.prepend list other conditioners"),
    ("text", {"fuser__cross": ["description", "self_wav"]}, "fuser.prepend list other conditioners"),
    ("text", {"conditioners__description": {"model": "clap", "clap": {}}}, "lacks a CLAP"),
    ("text", {"conditioners__description": {"model": "style", "style": {}}}, "lacks a style"),
    ("text", {"conditioners__description": {"model": "mine", "mine": {}}}, r"description \(mine\) in cross"),
    ("lut", {"fuser__cross": [], "fuser__prepend": ["genre"]}, r"genre \(lut\) in prepend"),
])
def test_unsupported_combinations_of_settings_are_refused(kind, changes, said):
    with pytest.raises(CheckpointError, match=f"{said}.*format=safetensors or format=audiocraft"):
        layout_of(config(kind, **changes))


@pytest.mark.parametrize(("changes", "architecture"), [
    ({"transformer_lm__activation": "relu"}, "MusicgenForConditionalGeneration"),
    ({"codebooks_pattern__delay__delays": None}, "MusicgenForConditionalGeneration"),
    ({"interleave_stereo_codebooks__use": True, "codebooks_pattern__delay__delays": [0, 0, 1, 1]},
     "MusicgenForConditionalGeneration"),
    ({"transformer_lm__n_q": 1, "codebooks_pattern__modeling": "parallel"}, "MusicgenForConditionalGeneration"),
])
def test_equivalent_settings_are_accepted(changes, architecture):
    assert layout_of(config("text", **changes)).architecture == architecture
