"""The configuration files of a MusicGen."""

import json

import pytest

from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.encodec.config import bandwidth
from audiocraft_export.formats.transformers.model_files import ModelFiles, as_json
from audiocraft_export.formats.transformers.musicgen.architecture import layout_of
from audiocraft_export.formats.transformers.musicgen.configs import check_codec, composite_config, composite_files
from audiocraft_export.formats.transformers.musicgen.text_encoder import TextEncoder

from .scene import CARD, COUNT, config


def codec(count=COUNT, size=CARD):
    values = {"sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4], "codebook_size": size, "audio_channels": 1}
    extractor = {"feature_size": 1, "padding_side": "right"}
    return ModelFiles("EncodecModel", {}, {
        "config.json": as_json({**values, "target_bandwidths": [bandwidth(values, count)]}),
        "preprocessor_config.json": as_json(extractor)})


@pytest.mark.parametrize(("options", "found"), [
    ({"count": 3}, "3 codebooks of 32"), ({"size": 64}, "4 codebooks of 64")])
def test_a_codec_of_other_codebooks_is_refused_by_its_numbers(options, found):
    check_codec(config("text"), codec())
    check_codec(config("text"), codec(count=8))  # the codec can encode with fewer codebooks
    with pytest.raises(CheckpointError, match=f"has {found} entries, but the language model needs 4 of 32"):
        check_codec(config("text"), codec(**options))


@pytest.mark.parametrize(("kind", "processor"), [("text", "MusicgenProcessor"), ("melody", "MusicgenMelodyProcessor")])
def test_the_files_are_those_of_the_whole_model(kind, processor):
    cfg, layout = config(kind), layout_of(config(kind))
    encoder = TextEncoder({"d_model": 512}, {}, {"tokenizer.json": b"{}"})
    values = composite_config(cfg, layout, "float32", encoder, codec())
    files = composite_files(cfg, layout, values, encoder, codec())
    assert [*files] == ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"]
    assert json.loads(files["config.json"])["decoder"]["model_type"] == values["model_type"] + "_decoder"
    assert json.loads(files["preprocessor_config.json"])["processor_class"] == processor
    assert ("num_chroma" in values) == (kind == "melody")
