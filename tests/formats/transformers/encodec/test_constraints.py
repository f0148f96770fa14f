"""Compression models that EncodecModel cannot represent."""

import pytest

from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.encodec.config import encodec_config
from audiocraft_export.formats.transformers.encodec.constraints import validate

from .scene import CONFIG, config_with, refused


@pytest.mark.parametrize(("change", "why"), [
    ("compression_model=dac", "AudioCraft's encodec only"), ("encodec.autoencoder=other", "are a SEANet"),
    ("encodec.quantizer=no_quant", "it always quantizes"), ("channels=3", "mono or stereo"),
    ("seanet.activation=GELU", "ELU"), ("seanet.activation_params.alpha=0.9", "alpha of its ELU is 1"),
    ("seanet.activation_params.inplace=true", "inplace"), ("seanet.norm=spectral_norm", "time_group_norm"),
    ("seanet.norm=none", "time_group_norm"), ("seanet.norm_params.eps=0.1", "defaults of torch"),
    ("seanet.disable_norm_outer_blocks=2", "all blocks"),
    ("seanet.decoder.final_activation=Tanh", "convolution"), ("rvq.bins=400", "power of two"), ("rvq.bins=1", "power"),
    ("seanet.decoder.n_filters=4", "have the same n_filters"), ("seanet.encoder.lstm=0", "have the same lstm"),
    ("seanet.channels=2", "one number of channels"), ("seanet.decoder.trim_right_ratio=0.5", "without seanet.causal"),
    ("seanet.groups=2", "seanet.groups=2: AudioCraft has no such key"), ("rvq.codebook_dim=2", "no such key"),
    ("encodec.sway=1", "no such key"), ("seanet.encoder.shift=1", "seanet.shift=1: AudioCraft has no such key")])
def test_what_transformers_cannot_represent_is_refused_with_the_reason_and_a_way_out(change, why):
    said = refused(change)
    assert said.startswith("EncodecModel of transformers cannot represent this codec (") and why in said
    assert change.rsplit("=")[0].rsplit(".")[-1] in said
    assert said.endswith(": use format=safetensors, or format=audiocraft.")


def test_what_is_left_out_is_filled_in():
    settings = validate(config_with())
    assert settings["encodec.renorm"] is None and settings["rvq.orthogonal_reg_max_codes"] is None
    assert settings["seanet.trim_right_ratio"] == 1 and "seanet.decoder" not in settings


def test_all_reasons_are_said_at_once():
    said = refused("seanet.activation=GELU", "seanet.norm=none")
    assert "seanet.activation='GELU': its activation is ELU; seanet.norm='none': " in said


def test_what_stands_for_the_same_is_no_difference():
    plain = encodec_config(config_with())
    assert encodec_config(config_with("seanet.decoder.n_filters=2", "seanet.norm_params.eps=1e-5")) == plain
    assert encodec_config(config_with("seanet.activation_params.inplace=false", "encodec.renorm=3")) == plain
    both = config_with("seanet.decoder.n_filters=4", "seanet.encoder.n_filters=4")
    assert encodec_config(both) == encodec_config(config_with("seanet.n_filters=4"))


@pytest.mark.parametrize("section", ["seanet", "rvq", "encodec"])
def test_a_section_that_is_no_mapping_or_is_missing_is_said(section):
    for value in ("text", [1], None, ...):
        values = {**CONFIG, section: value}
        with pytest.raises(CheckpointError, match=f"`{section}` of the configuration"):
            encodec_config(Config({key: each for key, each in values.items() if each is not ...}))
    with pytest.raises(CheckpointError, match=r"`seanet.encoder` of the configuration .* no mapping"):
        encodec_config(config_with("seanet.encoder=7"))
