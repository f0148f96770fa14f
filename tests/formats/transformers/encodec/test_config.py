"""The configuration of an EncodecModel."""

import itertools
import math
from types import SimpleNamespace

import pytest
import transformers

from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.encodec.config import bandwidth, codebooks, encodec_config

from .scene import config_with, refused


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])
def test_all_codebooks_are_used_by_default_whatever_is_rounded(rate):
    from transformers.models.encodec.modeling_encodec import EncodecResidualVectorQuantizer
    for ratios, bits in itertools.product([[8, 5, 4, 2], [8, 5, 4, 4], [7, 3], [2]], [1, 6, 10, 11]):
        values = encodec_config(config_with(f"sample_rate={rate}", f"seanet.ratios={ratios}", f"rvq.bins={1 << bits}"))
        for count in range(1, 33):
            values["target_bandwidths"] = [bandwidth(values, count)]
            config = SimpleNamespace(**values)
            config.frame_rate = math.ceil(rate / math.prod(ratios))
            config.codebook_nbits = bits
            assert transformers.EncodecConfig.num_quantizers.fget(config) == codebooks(values) == count
            quantizer = SimpleNamespace(codebook_size=1 << bits, frame_rate=config.frame_rate, num_quantizers=count)
            assert EncodecResidualVectorQuantizer.get_num_quantizers_for_bandwidth(
                quantizer, config.target_bandwidths[0]) == count


def test_keys_that_are_left_out_have_the_defaults_of_audiocraft_s_classes():
    values = config_with("seanet.norm=weight_norm").values
    values["seanet"] = {"norm": "weight_norm", "lstm": 2}
    values["rvq"] = {}
    config = encodec_config(Config(values))
    assert (config["pad_mode"], config["num_residual_layers"], config["use_causal_conv"]) == ("reflect", 3, False)
    assert (config["codebook_size"], codebooks(config), config["upsampling_ratios"]) == (1024, 8, [8, 5, 4, 2])


@pytest.mark.parametrize("change", [
    "sample_rate=0", "sample_rate=16000.5", "sample_rate=1e99", "seanet.ratios=[0]", "seanet.ratios=8",
    "seanet.ratios=[a]", "seanet.n_filters=null", "seanet.lstm=-1", "seanet.true_skip=perhaps", "rvq.n_q=0",
    "rvq.n_q=99999999999", "seanet.kernel_size=.nan", "seanet.decoder.trim_right_ratio=null"])
def test_values_that_build_nothing_are_reported_by_their_key(change):
    said = refused(change)
    assert "trim_right_ratio" in said or change.split("=")[0].split(".")[-1] in said
    assert "does not support" in said or \
        "Invalid value " in said and said.endswith("Set the value that the codec was trained with.")
