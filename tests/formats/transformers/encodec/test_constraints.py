"""Compression models that EncodecModel does not support."""

import pytest

from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.encodec.config import encodec_config
from audiocraft_export.formats.transformers.encodec.constraints import validate

from .scene import CONFIG, config_with, refused


@pytest.mark.parametrize(("change", "why"), [
    ("compression_model=dac", "only encodec is supported"), ("encodec.autoencoder=other", "only seanet is"),
    ("encodec.quantizer=no_quant", "only residual vector quantization"), ("channels=3", "mono and stereo"),
    ("seanet.activation=GELU", "ELU"), ("seanet.activation_params.alpha=0.9", "only ELU with alpha 1"),
    ("seanet.activation_params.inplace=true", "inplace"), ("seanet.norm=spectral_norm", "time_group_norm"),
    ("seanet.norm=none", "time_group_norm"), ("seanet.norm_params.eps=0.1", "defaults of torch"),
    ("seanet.disable_norm_outer_blocks=2", "only 0 is"),
    ("seanet.decoder.final_activation=Tanh", "convolution"), ("rvq.bins=400", "power of two"), ("rvq.bins=1", "power"),
    ("seanet.decoder.n_filters=4", "have the same n_filters"), ("seanet.encoder.lstm=0", "have the same lstm"),
    ("seanet.channels=2", "must be equal to encodec.channels"),
    ("seanet.decoder.trim_right_ratio=0.5", "without seanet.causal"),
    ("seanet.groups=2", "seanet.groups=2: unknown to AudioCraft"), ("rvq.codebook_dim=2", "unknown to AudioCraft"),
    ("encodec.sway=1", "unknown to AudioCraft"), ("seanet.encoder.shift=1", "seanet.shift=1: unknown to AudioCraft")])
def test_unsupported_models_are_refused_with_reason_and_hint(change, why):
    said = refused(change)
    assert said.startswith("EncodecModel of transformers does not support this codec (") and why in said
    assert change.rsplit("=")[0].rsplit(".")[-1] in said
    assert said.endswith("). Use format=safetensors or format=audiocraft.")


def test_missing_settings_get_defaults():
    settings = validate(config_with())
    assert settings["encodec.renorm"] is None and settings["rvq.orthogonal_reg_max_codes"] is None
    assert settings["seanet.trim_right_ratio"] == 1 and "seanet.decoder" not in settings


def test_all_reasons_are_reported_at_once():
    said = refused("seanet.activation=GELU", "seanet.norm=none")
    assert "seanet.activation='GELU': only ELU is supported; seanet.norm='none': " in said


def test_equivalent_settings_are_accepted():
    plain = encodec_config(config_with())
    assert encodec_config(config_with("seanet.decoder.n_filters=2", "seanet.norm_params.eps=1e-5")) == plain
    assert encodec_config(config_with("seanet.activation_params.inplace=false", "encodec.renorm=3")) == plain
    both = config_with("seanet.decoder.n_filters=4", "seanet.encoder.n_filters=4")
    assert encodec_config(both) == encodec_config(config_with("seanet.n_filters=4"))


@pytest.mark.parametrize("section", ["seanet", "rvq", "encodec"])
def test_a_missing_section_or_one_that_is_not_a_mapping_is_reported(section):
    for value in ("text", [1], None, ...):
        values = {**CONFIG, section: value}
        with pytest.raises(CheckpointError, match=f"`{section}` of the configuration"):
            encodec_config(Config({key: each for key, each in values.items() if each is not ...}))
    with pytest.raises(CheckpointError, match=r"`seanet.encoder` of the configuration .* must be a mapping"):
        encodec_config(config_with("seanet.encoder=7"))
