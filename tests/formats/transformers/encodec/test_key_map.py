"""Every tensor name of a compression model of AudioCraft has a counterpart."""

import pytest
import torch

from audiocraft_export.checkpoint.torch_tensors import from_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.encodec.config import encodec_config
from audiocraft_export.formats.transformers.encodec.convert import to_encodec
from audiocraft_export.formats.transformers.encodec.key_map import encodec_key_map

from .scene import config_with, content_with

NORMED = ["bias", "weight_g", "weight_v"]
LAYERS = {  # names of AudioCraft in this model, by module
    "encoder.model": {"0.conv.conv": NORMED, "1.block.1.conv.conv": NORMED, "1.block.3.conv.conv": NORMED,
                      "3.conv.conv": NORMED, "4.block.1.conv.conv": NORMED, "4.block.3.conv.conv": NORMED,
                      "6.conv.conv": NORMED, "7.lstm": ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"],
                      "9.conv.conv": NORMED},
    "decoder.model": {"0.conv.conv": NORMED, "1.lstm": ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"],
                      "3.convtr.convtr": NORMED, "4.block.1.conv.conv": NORMED, "4.block.3.conv.conv": NORMED,
                      "6.convtr.convtr": NORMED, "7.block.1.conv.conv": NORMED, "7.block.3.conv.conv": NORMED,
                      "9.conv.conv": NORMED},
    "quantizer.vq.layers": {"0._codebook": ["inited", "cluster_size", "embed", "embed_avg"],
                            "1._codebook": ["inited", "cluster_size", "embed", "embed_avg"]},
}
AUDIOCRAFT = {f"{side}.{module}.{name}" for side, modules in LAYERS.items() for module, names in modules.items()
              for name in names}


def test_the_names_are_those_of_audiocraft():
    assert set(content_with()["best_state"]) == AUDIOCRAFT


@pytest.mark.parametrize("name", ["encoder.model.2.conv.conv.bias", "teacher.weight", "decoder.model.9.convtr.bias"])
def test_a_tensor_that_has_no_place_is_named(name):
    content = content_with()
    content["best_state"][name] = next(iter(content["best_state"].values()))
    with pytest.raises(CheckpointError, match=f"transformers has no tensor that corresponds to {name}"):
        to_encodec(content)


def test_audiocraft_does_not_number_a_missing_lstm():
    values = encodec_config(config_with("seanet.lstm=0"))
    names = {"encoder.model.8.conv.conv.bias": "encoder.layers.9.conv.bias",
             "encoder.model.6.conv.conv.bias": "encoder.layers.6.conv.bias",
             "decoder.model.2.convtr.convtr.bias": "decoder.layers.3.conv.bias"}
    renamed = encodec_key_map(values).to_transformers(from_torch({name: torch.rand(2) for name in names}))
    assert [*renamed] == [*names.values()]
    assert [*encodec_key_map(values).to_audiocraft(renamed)] == [*names]
