"""The default generation settings and the codebooks of a MusicGen."""

from audiocraft_export.formats.transformers.encodec.config import bandwidth, codebooks
from audiocraft_export.formats.transformers.musicgen.architecture import layout_of
from audiocraft_export.formats.transformers.musicgen.generation import (
    codebooks_per_channel,
    codec_config_for_prompts,
    decoder_config,
    generation_config,
)

from .scene import CARD, COUNT, config

CODEC = {"sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4], "codebook_size": CARD}


def test_a_model_generates_as_long_as_it_was_trained():
    values = generation_config(config("text"), layout_of(config("text")), CODEC)
    assert values["max_length"] == 20 * 50 + COUNT and values["guidance_scale"] == 3


def test_a_decoder_alone_has_settings_that_transformers_does_not_fill_in():
    values = generation_config(config("none"), layout_of(config("none")), None)
    assert values["num_return_sequences"] == 1 and values["use_cache"] and "max_length" not in values


def test_left_and_right_share_the_codebooks():
    stereo = config("text", interleave_stereo_codebooks__use=True, codebooks_pattern__delay__delays=[0, 0, 1, 1])
    assert codebooks_per_channel(stereo) == COUNT // 2 and decoder_config(stereo)["audio_channels"] == 2


def test_a_codec_of_more_codebooks_encodes_prompts_with_those_of_the_model():
    whole = {**CODEC, "target_bandwidths": [bandwidth(CODEC, 8)]}
    fewer = codec_config_for_prompts(whole, config("text"))
    assert [codebooks(fewer, 0), codebooks(fewer)] == [COUNT, 8]
    assert codec_config_for_prompts({**CODEC, "target_bandwidths": [bandwidth(CODEC, COUNT)]}, config("text")) == {
        **CODEC, "target_bandwidths": [bandwidth(CODEC, COUNT)]}
