"""Convert codecs of AudioCraft to EncodecModel and back: codes, audio and weights are equal."""

import copy
import json
from functools import cache, partial

import pytest
import torch
from conftest import same, stored
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from place import SOURCE
from safetensors.torch import save_file
from transformers import AutoModel, AutoProcessor, EncodecModel

from audiocraft_export.checkpoint.state_dict import compact
from audiocraft_export.checkpoint.torch_tensors import SolverState
from audiocraft_export.errors import CheckpointError, ReleaseError
from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.encodec.convert import from_encodec, to_encodec
from audiocraft_export.formats.transformers.encodec.verify import (
    compare_codecs,
    load_audiocraft_codec,
    load_transformers_codec,
    verify_encodec,
    waveforms,
)
from audiocraft_export.release.compression_model import Lookup, load_compression_model
from audiocraft_export.release.content import model_content

SMALL = ["solver=compression/debug", "dset=audio/example", "device=cpu", "seanet.n_filters=4", "seanet.dimension=16",
         "rvq.bins=64", "rvq.n_q=4", "rvq.kmeans_iters=3"]
ARCHITECTURES = [
    "seanet.n_residual_layers=1",
    "encodec.causal=false seanet.pad_mode=reflect",
    "encodec.causal=false seanet.norm=time_group_norm",
    "channels=2",
    "channels=2 encodec.causal=false encodec.renormalize=true seanet.norm=time_group_norm",
    "encodec.causal=false encodec.renormalize=true",
    "seanet.lstm=0",
    "seanet.lstm=0 channels=2 encodec.causal=false seanet.norm=time_group_norm seanet.n_residual_layers=2",
    "seanet.lstm=1 seanet.decoder.trim_right_ratio=0.3",
    "seanet.ratios=[5,3] rvq.n_q=9 rvq.bins=2",
    "seanet.ratios=[7] sample_rate=11025 rvq.n_q=17",  # 11025 / 7 frames per second
    "seanet.ratios=[8,5,4,4] sample_rate=32000 rvq.bins=2048 encodec.causal=false",
    "seanet.n_residual_layers=3 seanet.dilation_base=3 seanet.true_skip=false seanet.compress=1",
    "seanet.n_residual_layers=0 seanet.kernel_size=4 seanet.last_kernel_size=2 seanet.pad_mode=replicate",
    "seanet.residual_kernel_size=6 seanet.encoder.n_filters=8 seanet.decoder.n_filters=8",
]


@cache
def base():
    with initialize_config_dir(str(SOURCE / "config"), version_base="1.1"):
        return compose("config", SMALL)


def composed(*overrides):
    cfg = copy.deepcopy(base())
    OmegaConf.set_struct(cfg, False)
    return OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(overrides)))


@cache
def built(*overrides):
    """Build and train a codec of AudioCraft; return it and the content of its release."""
    from audiocraft.models import builders
    cfg = composed(*overrides)
    torch.manual_seed(0)
    model = builders.get_compression_model(cfg)
    for _ in range(2):  # codebooks are initialized with their first input
        model(waveforms(model.sample_rate, model.channels) * 2)
    return model.eval(), content_of(model, cfg)


def content_of(model, cfg):
    return model_content(SolverState({"model": model})["model"], OmegaConf.to_yaml(cfg), "1.3.0")


def loaded(tensors):
    return {name: torch.frombuffer(bytearray(tensor.own_bytes.read_checked()), dtype=getattr(torch, tensor.dtype))
            .reshape(tensor.shape) for name, tensor in tensors.items()}


def written(content, folder):
    parts = to_encodec(content)
    folder.mkdir(exist_ok=True)
    save_file(loaded(parts.tensors), folder / "model.safetensors", metadata={"format": "pt"})
    for name, text in {**parts.files, "config.yaml": content["xp.cfg"]}.items():
        (folder / name).write_text(text)
    return folder


def changed(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def folder(tmp_path):
    """Write a codec in the transformers format."""
    return written(built("seanet.n_residual_layers=2")[1], tmp_path)


def trained_content(encodec):
    lookup = Lookup(encodec, encodec.parents[1], "1.3.0")
    return load_compression_model(encodec / "checkpoint.th", lookup).content


@pytest.mark.parametrize("overrides", ARCHITECTURES)
def test_transformers_gives_the_codes_and_the_audio_that_audiocraft_gives(overrides, tmp_path):
    model, content = built(*overrides.split())
    agreement = verify_encodec(written(content, tmp_path))
    sound = waveforms(model.sample_rate, model.channels)
    with torch.inference_mode():
        codes, scale = model.encode(sound)
        assert model.decode(codes, scale).std() > 1e-3 < sound.std()  # sound instead of silence
    assert agreement.codes == codes.numel() and agreement.audio <= 1e-4
    assert codes.shape[1] == model.total_codebooks and len(codes.unique()) > min(codes.shape[-1], model.cardinality) / 4
    back = from_encodec(to_encodec(content).tensors, Config.parse(content["xp.cfg"]))
    assert same(loaded(back), dict(model.state_dict()))


def test_a_trained_codec_loads_in_transformers(encodec, tmp_path):
    from audiocraft.models.encodec import HFEncodecCompressionModel
    content = trained_content(encodec)
    folder = written(content, tmp_path)
    assert verify_encodec(folder).audio <= 1e-4
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert isinstance(model, EncodecModel) and model.config.num_quantizers == 4
    inputs = processor(raw_audio=waveforms(32000, 1)[0, 0].numpy(), sampling_rate=32000, return_tensors="pt")
    assert model(**inputs).audio_codes.shape[:3] == (1, 1, 4)
    assert HFEncodecCompressionModel(model).num_codebooks == 4  # what AudioCraft loads once the codec is on the Hub
    back = from_encodec(to_encodec(content).tensors, Config.parse(content["xp.cfg"]))
    assert same(loaded(back), stored(encodec)["best_state"]["model"])


def test_a_codec_in_half_precision_is_proven_in_single(encodec, tmp_path):
    content = dict(trained_content(encodec))
    content["best_state"] = compact(content["best_state"], "best_state", "float16")
    folder = written(content, tmp_path)
    assert verify_encodec(folder).audio <= 1e-4
    assert EncodecModel.from_pretrained(folder, dtype="auto").dtype is torch.float16


@pytest.mark.parametrize(("values", "says"), [
    ({"pad_mode": "replicate"}, "codes differ"),
    ({"pad_mode": "nope"}, "NotImplementedError: "),
    ({"normalize": True}, "codes differ"),
    ({"dilation_growth_rate": 3}, "codes differ"),
    ({"trim_right_ratio": 0.5}, "decoded samples differ by up to "),
    ({"sampling_rate": 15990},
     "samples at 15990 Hz in transformers, [2, 1, 18560] at 16000 Hz in AudioCraft"),
    ({"target_bandwidths": [0.9]}, "unexpected keys quantizer.layers.3.codebook"),
    ({"target_bandwidths": [0.9, 1.2]}, "have the shape [2, 3, 58] in transformers, [2, 4, 58] in AudioCraft"),
    ({"num_lstm_layers": 3}, "missing keys decoder.layers.1.lstm.bias_hh_l2"),
    ({"kernel_size": 5}, "RuntimeError: "),
    ({"model_type": "dac"}, "it is a DacModel, missing keys ")])
def test_a_folder_that_is_not_the_codec_is_reported_with_numbers(values, says, folder):
    changed(folder, **values)
    with pytest.raises(ReleaseError) as failure:
        verify_encodec(folder)
    assert says in str(failure.value) and "\n" not in str(failure.value)


def test_weights_that_are_not_the_codec_s_are_found(tmp_path):
    _, content = built()
    other, _ = built("rvq.kmeans_iters=1")
    folder = written(content, tmp_path)
    save_file(loaded(to_encodec(content_of(other, composed())).tensors), folder / "model.safetensors")
    ours = load_transformers_codec(folder)
    theirs = load_audiocraft_codec(to_encodec(content).tensors, Config.parse(content["xp.cfg"]))
    with pytest.raises(ReleaseError, match=r"\d+ of \d+ codes differ"):
        compare_codecs(theirs, ours)


def test_weights_that_were_cut_short_are_reported(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ReleaseError, match=r"Cannot read the weights in .*: .*\. Export again"):
        verify_encodec(folder)


def test_a_configuration_that_builds_another_codec_of_audiocraft_is_reported(folder):
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("n_filters: 4", "n_filters: 5"))
    with pytest.raises(ReleaseError, match="AudioCraft cannot load the codec .*: RuntimeError: .*size mismatch"):
        verify_encodec(folder)


@pytest.mark.parametrize("overrides", [
    "seanet.activation=CELU", "seanet.activation_params.alpha=0.5",
    "seanet.decoder.final_activation=Tanh", "seanet.norm=none", "seanet.norm=spectral_norm",
    "seanet.disable_norm_outer_blocks=1", "encodec.quantizer=no_quant", "channels=3", "rvq.bins=400",
    "seanet.encoder.compress=1", "seanet.decoder.lstm=1",
    "encodec.causal=false seanet.norm=time_group_norm seanet.norm_params.eps=0.001"])
def test_models_that_transformers_cannot_build_are_refused(overrides):
    from audiocraft.models import builders
    cfg = composed(*overrides.split())
    model = builders.get_compression_model(cfg)
    key = overrides.split()[-1].split("=")[0].split(".")[-1]
    with pytest.raises(CheckpointError, match=rf"does not support this codec .*{key}.*Use format=safetensors"):
        to_encodec(content_of(model, cfg))


def test_the_table_of_limits_has_all_keys_of_audiocraft_with_its_defaults():
    from inspect import signature

    from audiocraft.models import EncodecModel as Theirs
    from audiocraft.modules import SEANetDecoder, SEANetEncoder
    from audiocraft.quantization import ResidualVectorQuantizer

    from audiocraft_export.formats.transformers.encodec.constraints import AUDIOCRAFT_DEFAULTS, DECODER_DEFAULTS
    defaults = {kind: {name: each.default for name, each in signature(kind).parameters.items()}
                for kind in (SEANetEncoder, SEANetDecoder, ResidualVectorQuantizer, Theirs)}
    assert defaults[SEANetEncoder] == AUDIOCRAFT_DEFAULTS["seanet"]
    assert defaults[SEANetDecoder] == {**AUDIOCRAFT_DEFAULTS["seanet"], **DECODER_DEFAULTS}
    assert {**defaults[ResidualVectorQuantizer], "dimension": None} == AUDIOCRAFT_DEFAULTS["rvq"]
    built_by_others = {"encoder", "decoder", "quantizer", "frame_rate"}
    of_encodec = set(AUDIOCRAFT_DEFAULTS["encodec"]) - {"autoencoder", "quantizer", "renorm"}
    assert set(defaults[Theirs]) - built_by_others == of_encodec


@pytest.mark.parametrize("check", [to_encodec, verify_encodec])
def test_the_random_numbers_of_a_training_are_left_alone(check, tmp_path):
    _, content = built()
    act = partial(check, content if check is to_encodec else written(content, tmp_path))
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    act()
    assert torch.equal(torch.rand(3), expected)
