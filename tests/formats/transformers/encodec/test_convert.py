"""Convert compression models to EncodecModel of transformers and back, without AudioCraft."""

import json
from dataclasses import replace

import pytest
import transformers

from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.encodec.convert import from_encodec, to_encodec

from .scene import config_with, content_with


def read(tensor):
    return tensor.dtype, tensor.shape, bytes(tensor.own_bytes.read_checked())


@pytest.mark.parametrize("changes", [
    (), ("channels=2", "seanet.norm=time_group_norm", "seanet.true_skip=false"), ("seanet.lstm=0",),
    ("seanet.n_residual_layers=0", "seanet.lstm=3"), ("seanet.n_residual_layers=12", "rvq.n_q=11")])
def test_both_ways_keep_every_name_and_every_byte(changes):
    content = content_with(*changes)
    parts = to_encodec(content)
    back = from_encodec(parts.tensors, config_with(*changes))
    assert back.keys() == content["best_state"].keys()
    assert all(read(back[name]) == read(tensor) for name, tensor in content["best_state"].items())


def test_the_folder_has_exactly_the_files_that_transformers_needs(tmp_path):
    content = content_with("seanet.ratios=[3,4]", "rvq.n_q=3", "encodec.causal=true",
                           "seanet.decoder.trim_right_ratio=0.5")
    parts = to_encodec(content)
    for name, text in parts.files.items():
        (tmp_path / name).write_text(text)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (config.upsampling_ratios, config.num_quantizers, config.trim_right_ratio) == ([3, 4], 3, 0.5)
    expected = transformers.EncodecModel(config).state_dict()
    assert {name: tensor.shape for name, tensor in parts.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in expected.items()}
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert (extractor.feature_size, extractor.sampling_rate, extractor.chunk_length) == (1, 16000, None)
    assert parts.architecture == "EncodecModel" and not parts.others


def test_the_dtype_is_that_of_the_weights():
    content = content_with()
    content["best_state"] = {name: replace(tensor, dtype="float16") for name, tensor in content["best_state"].items()}
    assert json.loads(to_encodec(content).files["config.json"])["dtype"] == "float16"
    content["best_state"]["quantizer.vq.layers.0._codebook.inited"] = content_with()["best_state"][
        "quantizer.vq.layers.0._codebook.inited"]
    assert json.loads(to_encodec(content).files["config.json"])["dtype"] == "float32"


@pytest.mark.parametrize(("lost", "says"), [
    ("encoder.model.9.conv.conv.bias", "encoder.layers.9.conv.bias is missing"),
    ("quantizer.vq.layers.1._codebook.embed", "quantizer.layers.1.codebook.embed is missing")])
def test_a_tensor_that_is_missing_is_named(lost, says):
    content = content_with()
    del content["best_state"][lost]
    with pytest.raises(CheckpointError, match=says):
        to_encodec(content)


def test_tensors_of_another_configuration_are_named_with_both_shapes():
    content = content_with()
    text = content["xp.cfg"]
    with pytest.raises(CheckpointError, match=r"embed has the shape \[8, 4\], expected \[16, 4\]"):
        to_encodec({**content, "xp.cfg": text.replace("bins: 8", "bins: 16")})
    with pytest.raises(CheckpointError, match=r"layers.1.codebook.inited is unexpected"):
        to_encodec({**content, "xp.cfg": text.replace("n_q: 2", "n_q: 1")})
    with pytest.raises(CheckpointError, match="layers.2.codebook.inited is missing"):
        to_encodec({**content, "xp.cfg": text.replace("n_q: 2", "n_q: 3")})


@pytest.mark.parametrize("change", ["rvq.n_q=1000000000", "seanet.n_residual_layers=100000000", "seanet.lstm=1000000",
                                    f"seanet.ratios={[2] * 300}"])
def test_a_configuration_of_endless_layers_is_refused_before_they_are_built(change):
    with pytest.raises(CheckpointError, match="has more layers than"):
        to_encodec({**content_with(), "xp.cfg": config_with(change).text})


@pytest.mark.parametrize("change", ["seanet.n_filters=2000000000", "seanet.compress=4"])
def test_a_model_that_torch_cannot_build_is_reported_in_one_line(change):
    says = r"transformers cannot build EncodecModel .*\. Use format|has the shape \["
    with pytest.raises(CheckpointError, match=says) as failure:
        to_encodec({**content_with(), "xp.cfg": config_with(change).text})
    assert "\n" not in str(failure.value)
