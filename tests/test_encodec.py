"""Codecs as EncodecModel of transformers, without AudioCraft: names, configuration, limits, public ones."""

import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import transformers
from omegaconf import OmegaConf

from audiocraft_export.checkpoint.solver_state import SolverState
from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.encodec import zero_lstm
from audiocraft_export.formats.transformers.encodec.config import bandwidth, codebooks, encodec_config
from audiocraft_export.formats.transformers.encodec.convert import from_encodec, to_encodec
from audiocraft_export.release.content import model_content
from audiocraft_export.storage.lazy_bytes import LazyBytes

CONFIG = {  # as in AudioCraft's config/model/encodec/default.yaml
    "compression_model": "encodec", "sample_rate": 16000, "channels": 1,
    "encodec": {"autoencoder": "seanet", "quantizer": "rvq", "sample_rate": "${sample_rate}",
                "channels": "${channels}", "causal": False, "renormalize": False},
    "seanet": {"dimension": 4, "channels": "${channels}", "causal": "${encodec.causal}", "n_filters": 2,
               "n_residual_layers": 1, "ratios": [4, 2], "activation": "ELU", "activation_params": {"alpha": 1.0},
               "norm": "weight_norm", "norm_params": {}, "kernel_size": 7, "residual_kernel_size": 3,
               "last_kernel_size": 7, "dilation_base": 2, "pad_mode": "constant", "true_skip": True, "compress": 2,
               "lstm": 1, "disable_norm_outer_blocks": 0,
               "decoder": {"trim_right_ratio": 1.0, "final_activation": None, "final_activation_params": None},
               "encoder": {}},
    "rvq": {"n_q": 2, "q_dropout": False, "bins": 8, "decay": 0.99, "kmeans_init": True, "kmeans_iters": 50,
            "threshold_ema_dead_code": 2, "orthogonal_reg_weight": 0.0, "orthogonal_reg_active_codes_only": False},
}
NORMED = ["bias", "weight_g", "weight_v"]
LAYERS = {  # AudioCraft's names in such a model, by the module that they are in
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


def config_with(*changes):
    return Config(OmegaConf.to_container(OmegaConf.merge(CONFIG, OmegaConf.from_dotlist(list(changes)))))


def content_with(*changes):
    """A codec with weights of its own: those of an EncodecModel of this configuration, by AudioCraft's names."""
    config = config_with(*changes)
    values = encodec_config(config)
    torch.manual_seed(0)
    model = transformers.EncodecModel(transformers.EncodecConfig(
        **{**values, "num_lstm_layers": values["num_lstm_layers"] or zero_lstm.LAYERS}))
    if not values["num_lstm_layers"]:
        model.load_state_dict({name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()
                               if ".lstm." in name}, strict=False)
    state = from_encodec(SolverState({"model": model})["model"], config)
    return model_content(state, config.text, "1.3.0")


def read(tensor):
    return tensor.dtype, tensor.shape, bytes(tensor.own_bytes.read_checked())


def refused(*changes):
    with pytest.raises(CheckpointError) as failure:
        encodec_config(config_with(*changes))
    return str(failure.value)


def test_the_names_are_those_of_audiocraft():
    assert set(content_with()["best_state"]) == AUDIOCRAFT


@pytest.mark.parametrize("changes", [
    (), ("channels=2", "seanet.norm=time_group_norm", "seanet.true_skip=false"), ("seanet.lstm=0",),
    ("seanet.n_residual_layers=0", "seanet.lstm=3"), ("seanet.n_residual_layers=12", "rvq.n_q=11")])
def test_both_ways_keep_every_name_and_every_byte(changes):
    content = content_with(*changes)
    parts = to_encodec(content)
    back = from_encodec(parts.tensors, config_with(*changes))
    assert back.keys() == content["best_state"].keys()
    assert all(read(back[name]) == read(tensor) for name, tensor in content["best_state"].items())


def test_transformers_finds_what_it_needs_and_nothing_else(tmp_path):
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


def test_an_lstm_of_zeros_changes_nothing():
    from transformers.models.encodec.modeling_encodec import EncodecLSTM
    values = {**encodec_config(config_with("seanet.lstm=0")), "num_lstm_layers": zero_lstm.LAYERS}
    layer = EncodecLSTM(transformers.EncodecConfig(**values), 8)
    zeros = {name.split(".")[-1]: torch.frombuffer(bytearray(tensor.own_bytes.read_checked()), dtype=torch.float32)
             .reshape(tensor.shape) for name, tensor in zero_lstm.zero_lstm(values, "float32").items()}
    layer.lstm.load_state_dict({name: zeros[name] for name in layer.lstm.state_dict()})
    sound = torch.randn(2, 8, 100)
    assert torch.equal(layer(sound), sound)


def test_an_lstm_that_was_trained_later_has_no_way_back():
    parts = to_encodec(content_with("seanet.lstm=0"))
    name = "decoder.layers.1.lstm.bias_hh_l0"
    trained = replace(parts.tensors[name], blob=LazyBytes.from_data(bytes(32 * 4 - 1) + b"\1"))
    with pytest.raises(CheckpointError, match=f"no LSTM .seanet.lstm=0., and {name} is no longer zero"):
        from_encodec({**parts.tensors, name: trained}, config_with("seanet.lstm=0"))


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


def test_all_reasons_are_said_at_once():
    said = refused("seanet.activation=GELU", "seanet.norm=none")
    assert "seanet.activation='GELU': its activation is ELU; seanet.norm='none': " in said


def test_what_stands_for_the_same_is_no_difference():
    plain = encodec_config(config_with())
    assert encodec_config(config_with("seanet.decoder.n_filters=2", "seanet.norm_params.eps=1e-5")) == plain
    assert encodec_config(config_with("seanet.activation_params.inplace=false", "encodec.renorm=3")) == plain
    both = config_with("seanet.decoder.n_filters=4", "seanet.encoder.n_filters=4")
    assert encodec_config(both) == encodec_config(config_with("seanet.n_filters=4"))


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
def test_values_that_build_nothing_are_said_by_their_key(change):
    said = refused(change)
    assert "trim_right_ratio" in said or change.split("=")[0].split(".")[-1] in said
    assert "cannot represent" in said or said.endswith("builds no codec: write the value that it was trained with.")


@pytest.mark.parametrize("section", ["seanet", "rvq", "encodec"])
def test_a_section_that_is_no_mapping_or_is_missing_is_said(section):
    for value in ("text", [1], None, ...):
        values = {**CONFIG, section: value}
        with pytest.raises(CheckpointError, match=f"`{section}` of the configuration"):
            encodec_config(Config({key: each for key, each in values.items() if each is not ...}))
    with pytest.raises(CheckpointError, match=r"`seanet.encoder` of the configuration .* no mapping"):
        encodec_config(config_with("seanet.encoder=7"))


@pytest.mark.parametrize(("lost", "says"), [
    ("encoder.model.9.conv.conv.bias", "encoder.layers.9.conv.bias is missing"),
    ("quantizer.vq.layers.1._codebook.embed", "quantizer.layers.1.codebook.embed is missing")])
def test_a_tensor_that_is_missing_is_named(lost, says):
    content = content_with()
    del content["best_state"][lost]
    with pytest.raises(CheckpointError, match=says):
        to_encodec(content)


@pytest.mark.parametrize("name", ["encoder.model.2.conv.conv.bias", "teacher.weight", "decoder.model.9.convtr.bias"])
def test_a_tensor_that_has_no_place_is_named(name):
    content = content_with()
    content["best_state"][name] = next(iter(content["best_state"].values()))
    with pytest.raises(CheckpointError, match=f"transformers has no place for {name}"):
        to_encodec(content)


def test_tensors_of_another_configuration_are_named_with_both_shapes():
    content = content_with()
    text = content["xp.cfg"]
    with pytest.raises(CheckpointError, match=r"embed is \[8, 4\], not \[16, 4\]"):
        to_encodec({**content, "xp.cfg": text.replace("bins: 8", "bins: 16")})
    with pytest.raises(CheckpointError, match=r"layers.1.codebook.inited is too many"):
        to_encodec({**content, "xp.cfg": text.replace("n_q: 2", "n_q: 1")})
    with pytest.raises(CheckpointError, match="layers.2.codebook.inited is missing"):
        to_encodec({**content, "xp.cfg": text.replace("n_q: 2", "n_q: 3")})


@pytest.mark.parametrize("change", ["rvq.n_q=1000000000", "seanet.n_residual_layers=100000000", "seanet.lstm=1000000",
                                    f"seanet.ratios={[2] * 300}"])
def test_a_configuration_of_endless_layers_is_refused_before_they_are_built(change):
    with pytest.raises(CheckpointError, match="asks for more layers"):
        to_encodec({**content_with(), "xp.cfg": config_with(change).text})


@pytest.mark.parametrize("change", ["seanet.n_filters=2000000000", "seanet.compress=4"])
def test_what_torch_cannot_build_is_said_in_one_line(change):
    with pytest.raises(CheckpointError, match=r"transformers builds no EncodecModel .*: use format|is \[") as failure:
        to_encodec({**content_with(), "xp.cfg": config_with(change).text})
    assert "\n" not in str(failure.value)


PUBLIC = """
import sys, json
from hashlib import sha256
from audiocraft_export.errors import ExportError
from audiocraft_export.formats.transformers.encodec.pretrained import pretrained_encodec
for name in sys.argv[1:]:
    try:
        parts = pretrained_encodec(name)
        print(json.dumps({"sha": {key: sha256(each.own_bytes.read_checked()).hexdigest() for key, each in
                                  parts.tensors.items()}, "files": parts.files}))
    except ExportError as exc:
        print(json.dumps(f"{type(exc).__name__}: {exc}"))
"""


def cached(home, name, model):
    """A model where the hub's client keeps what it has downloaded."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    model.save_pretrained(folder / "snapshots" / "0123")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123")
    return folder / "snapshots" / "0123"


def test_public_codecs_come_from_the_cache_as_they_are_and_others_are_refused(tmp_path):
    model = transformers.EncodecModel(transformers.EncodecConfig(
        num_filters=2, hidden_size=4, codebook_size=8, upsampling_ratios=[4, 2], target_bandwidths=[12.0, 18.0],
        sampling_rate=8000))
    cached(tmp_path, "somebody/codec", model)
    for name, change in [("somebody/text", ('"encodec"', '"bert"')), ("somebody/broken", ('layers": 2', 'layers": 3'))]:
        path = cached(tmp_path, name, model) / "config.json"
        path.write_text(path.read_text().replace(*change))
    names = ["somebody/codec", "somebody/text", "somebody/broken", "nobody/nothing", "dac_44khz",
             "debug_compression_model"]
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", PUBLIC, *names], text=True, capture_output=True,
                            env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}, check=True)
    codec, *errors = map(json.loads, result.stdout.splitlines())
    state = SolverState({"model": model})["model"]
    assert codec["sha"].keys() == state.keys() and str(tmp_path) not in result.stdout
    assert json.loads(codec["files"]["config.json"])["target_bandwidths"] == [12.0, 18.0]
    assert json.loads(codec["files"]["preprocessor_config.json"])["sampling_rate"] == 8000
    assert errors[0].startswith("CheckpointError: The codec somebody/text is a model of another type (bert)")
    assert "CheckpointError: The codec somebody/broken has other weights than an EncodecModel has" in errors[1]
    assert errors[2].startswith("ReleaseError: The codec nobody/nothing cannot be had from the cache")
    assert "Descript Audio Codec" in errors[3] and "random weights" in errors[4]
    assert all(error.endswith("use format=safetensors, or format=audiocraft.") for error in errors)
