"""Convert language models of real AudioCraft to transformers and back: outputs and weights are equal."""

import random

import pytest
import recipes
import small_models
import torch
from omegaconf import OmegaConf

from audiocraft_export.checkpoint.checkpoint import to_checkpoint
from audiocraft_export.checkpoint.torch_file import TorchFile
from audiocraft_export.checkpoint.torch_tensors import to_torch
from audiocraft_export.errors import CheckpointError, ReleaseError
from audiocraft_export.formats.transformers.musicgen.convert import from_musicgen, to_musicgen
from audiocraft_export.formats.transformers.musicgen.verify import verify_musicgen
from audiocraft_export.release.model import ReleaseModel

SMALL = [*recipes.TINY, "dset=audio/example", "model/lm/model_scale=xsmall", "autocast=false",
         "dataset.segment_duration=20", "transformer_lm.card=64",
         "compression_model_checkpoint=//pretrained/debug_compression_model"]
WITH_T5 = "conditioners.description.t5.name=t5-small"
TEXT = ["solver=musicgen/musicgen_base_32khz", "conditioner=text2music", *SMALL]
SOUND = ["solver=audiogen/audiogen_base_16khz", "conditioner=text2sound", *SMALL]
MELODY = ["solver=musicgen/musicgen_melody_32khz", "conditioner=chroma2music", *SMALL]
UNFUSED = ["transformer_lm.memory_efficient=false"]
STEREO = ["channels=2", "interleave_stereo_codebooks.use=true"]
LUT = ["conditioners.description.model=lut", "+conditioners.description.lut={n_bins:64,dim:32,tokenizer:noop}"]
LUTS = [*LUT, "+conditioners.genre.model=lut", "+conditioners.genre.lut={n_bins:8,dim:16,tokenizer:noop}",
        "fuser.cross=[description,genre]"]
WHOLE, MELODIC, ALONE = ("MusicgenForConditionalGeneration", "MusicgenMelodyForConditionalGeneration",
                         "MusicgenForCausalLM")
ARCHITECTURES = {
    "text": ([*TEXT, WITH_T5], WHOLE),
    "not fused": ([*TEXT, WITH_T5, *UNFUSED], WHOLE),
    "custom": ([*TEXT, WITH_T5, *UNFUSED, "transformer_lm.custom=true"], WHOLE),
    "8 codebooks": ([*TEXT, WITH_T5, "transformer_lm.n_q=8", "transformer_lm.card=128",
                     "codebooks_pattern.delay.delays=[0,1,2,3,4,5,6,7]"], WHOLE),
    "1 codebook": ([*TEXT, WITH_T5, "transformer_lm.n_q=1", "codebooks_pattern.modeling=parallel"], WHOLE),
    "relu": ([*TEXT, WITH_T5, "transformer_lm.activation=relu", "transformer_lm.hidden_scale=3",
              "transformer_lm.num_layers=3", "transformer_lm.two_step_cfg=true"], WHOLE),
    "stereo": ([*TEXT, WITH_T5, *STEREO, "transformer_lm.n_q=8", "codebooks_pattern.delay.delays=[0,0,1,1,2,2,3,3]"],
               WHOLE),
    "finetuned": ([*TEXT, WITH_T5, "conditioners.description.t5.finetune=true"], WHOLE),
    "T5 of the same size": ([*SOUND, WITH_T5, "transformer_lm.dim=512"], WHOLE),
    "sound": ([*SOUND, WITH_T5], WHOLE),
    "melody": ([*MELODY, WITH_T5], MELODIC),
    "short melody": ([*MELODY, WITH_T5, *UNFUSED, "dataset.segment_duration=3.5",
                      "conditioners.self_wav.chroma_stem.radix2_exp=12",
                      "conditioners.self_wav.chroma_stem.n_chroma=24"], MELODIC),
    "stereo melody": ([*MELODY, WITH_T5, *STEREO, "codebooks_pattern.delay.delays=[0,0,1,1]"], MELODIC),
    "table": ([*TEXT, *LUT], ALONE),
    "two tables": ([*TEXT, *LUTS, *UNFUSED], ALONE),
    "no condition": (["solver=musicgen/musicgen_base_32khz", "conditioner=none", *SMALL], ALONE),
}


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """Put a small T5 and a small demucs into the caches, and make the Hub unreachable."""
    folder = tmp_path_factory.mktemp("small")
    small_models.text_encoder(folder / "hub")
    small_models.separator(folder / "torch" / "hub")
    with pytest.MonkeyPatch.context() as patch:
        small_models.use(folder, patch)
        yield folder


def composed(place, recipe):
    """Return the configuration composed by AudioCraft, and its language model with distinct weights."""
    from audiocraft.models import builders
    from audiocraft.train import main
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.source)
        cfg = main.get_xp(recipe).cfg
    living_cfg = OmegaConf.merge(cfg, {"device": "cpu", "dtype": "float32"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lm = builders.get_lm_model(living_cfg).eval()
        with torch.no_grad():
            for parameter in lm.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return cfg, lm


def model_of(cfg, state, folder):
    torch.save({"best_state": {"model": state}, "fsdp_best_state": {}, "history": [{"valid": {"ce": 1.0}}],
                "xp.cfg": cfg, "xp.sig": "0123abcd"}, folder / "checkpoint.th")
    return ReleaseModel.from_checkpoint(to_checkpoint(TorchFile.read(folder / "checkpoint.th")), "1.3.0")


def codec_of(cfg):
    lm = cfg.transformer_lm
    channels = 2 if OmegaConf.select(cfg, "interleave_stereo_codebooks.use") else 1
    return small_models.codec(cfg.sample_rate, lm.card, lm.n_q // channels)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def released(request, place, tmp_path_factory):
    recipe, architecture = ARCHITECTURES[request.param]
    cfg, lm = composed(place, recipe)
    folder = tmp_path_factory.mktemp("released")
    model = model_of(cfg, lm.state_dict(), folder)
    parts = to_musicgen(model, None if architecture == ALONE else codec_of(cfg))
    assert parts.architecture == architecture
    return model, lm.state_dict(), parts, small_models.write(parts, folder / "release", model.config.text)


def test_both_say_the_same_and_the_weights_come_back(released):
    model, state, parts, folder = released
    back = from_musicgen(parts.tensors, parts.others, model.config)
    assert back.keys() == state.keys()
    assert all(torch.equal(to_torch(back[name]), tensor) for name, tensor in state.items())
    before = torch.get_rng_state(), random.getstate()
    verify_musicgen(folder)
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()


def test_the_processor_and_the_model_make_music(released):
    import transformers
    _, _, parts, folder = released
    if parts.architecture == ALONE:
        pytest.skip("a decoder alone makes codes")
    model = getattr(transformers, parts.architecture).from_pretrained(folder)
    channels, rate = model.config.decoder.audio_channels, model.config.audio_encoder.sampling_rate
    inputs = transformers.AutoProcessor.from_pretrained(folder)(text=["happy rock", "sad song"], padding=True,
                                                                return_tensors="pt")
    music = model.generate(**inputs, max_new_tokens=20)
    frames = 20 + 1 - model.decoder.num_codebooks // channels
    assert music.shape == (2, channels, frames * rate // 25) and music.isfinite().all()
    trained = 3.5 if "3.5" in (folder / "config.yaml").read_text() else 20
    assert model.generation_config.max_length == int(trained * 25) + model.decoder.num_codebooks // channels


@pytest.fixture(scope="module")
def text(place, tmp_path_factory):
    cfg, lm = composed(place, ARCHITECTURES["text"][0])
    return cfg, lm.state_dict(), tmp_path_factory.mktemp("text")


def written(cfg, state, folder, name):
    model = model_of(cfg, state, folder)
    parts = to_musicgen(model, codec_of(cfg))
    return parts, small_models.write(parts, folder / name, model.config.text)


def damage(folder, change):
    from safetensors.torch import load_file, save_file
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def edit(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


DAMAGES = {
    "configuration": (lambda folder: edit(folder, "config.json", '"gelu"', '"relu"'), "logits .* differ"),
    "codebooks": (lambda folder: edit(folder, "config.json", '"audio_channels": 1,\n    "activation',
                                      '"audio_channels": 2,\n    "activation'), "generate different codes"),
    "tokenizer": (lambda folder: edit(folder, "tokenizer.json", '"▁"', '"_"'), "logits .* differ|cannot be"),
    "text encoder": (lambda folder: damage(folder, lambda tensors: tensors[
        "text_encoder.encoder.block.1.layer.0.SelfAttention.v.weight"].zero_()), "logits .* differ"),
    "missing": (lambda folder: damage(folder, lambda tensors: tensors.pop("enc_to_dec_proj.bias")),
                r"enc_to_dec_proj.bias"),
    "too many": (lambda folder: damage(folder, lambda tensors: tensors.update(more=torch.zeros(1))), "more"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_release_with_other_weights_is_not_verified(text, kind):
    _, folder = written(*text, f"damaged {kind}")
    change, said = DAMAGES[kind]
    change(folder)
    with pytest.raises(ReleaseError, match=said):
        verify_musicgen(folder)


def test_a_text_encoder_of_two_different_embeddings_is_refused(place, tmp_path):
    cfg, lm = composed(place, ARCHITECTURES["finetuned"][0])
    state = {name: tensor.clone() for name, tensor in lm.state_dict().items()}  # the dtype of AudioCraft's best state
    written(cfg, state, tmp_path, "fine")
    state["condition_provider.conditioners.description.t5.shared.weight"][0] += 1
    with pytest.raises(CheckpointError, match="t5.shared.weight are the same tensor in T5, but differ in"):
        to_musicgen(model_of(cfg, state, tmp_path), codec_of(cfg))


def test_a_text_encoder_that_lacks_weights_is_refused_and_none_are_made_up(place, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file
    snapshot = small_models.text_encoder(tmp_path / "hub")
    tensors = load_file(snapshot / "model.safetensors")
    del tensors["encoder.block.1.layer.0.SelfAttention.v.weight"]
    save_file(tensors, snapshot / "model.safetensors", {"format": "pt"})
    small_models.use(tmp_path, monkeypatch)
    cfg, lm = composed(place, ARCHITECTURES["text"][0])
    with pytest.raises(CheckpointError, match=r"t5-small .*missing keys encoder\.block\.1.*v\.weight"):
        to_musicgen(model_of(cfg, lm.state_dict(), tmp_path), codec_of(cfg))


@pytest.mark.parametrize(("change", "said"), [
    (["transformer_lm.bias_attn=true"], "bias_attn=True"), (["transformer_lm.bias_ff=true"], "bias_ff=True"),
    (["transformer_lm.bias_proj=true"], "bias_proj=True"), (["transformer_lm.layer_scale=0.1"], "layer_scale=0.1"),
    (["transformer_lm.positional_embedding=rope"], "positional_embedding=rope"),
    (["transformer_lm.qk_layer_norm=true"], "qk_layer_norm=True"),
    (["transformer_lm.norm_first=false"], "norm_first=False")])
def test_models_that_transformers_would_take_for_others_are_refused(place, tmp_path, change, said):
    cfg, lm = composed(place, [*ARCHITECTURES["text"][0], *change])
    with pytest.raises(CheckpointError, match=f"transformer_lm.{said} .*Use format=safetensors"):
        to_musicgen(model_of(cfg, lm.state_dict(), tmp_path), codec_of(cfg))


@pytest.mark.parametrize(("codec", "said"), [({"bins": 128}, "4 codebooks of 128"), ({"n_q": 3}, "3 codebooks of 64")])
def test_a_codec_of_other_codebooks_is_refused(text, codec, said):
    cfg, state, folder = text
    with pytest.raises(CheckpointError, match=f"has {said} entries, but the language model needs 4 of 64"):
        to_musicgen(model_of(cfg, state, folder), small_models.codec(**{"bins": 64, **codec}))


def test_music_goes_on_in_as_many_codebooks_as_the_model_has(text):
    from transformers import AutoProcessor, MusicgenForConditionalGeneration
    cfg, state, folder = text
    parts = to_musicgen(model_of(cfg, state, folder), small_models.codec(bins=64, n_q=8))
    folder = small_models.write(parts, folder / "eight", "")
    model = MusicgenForConditionalGeneration.from_pretrained(folder)
    assert len(model.audio_encoder.quantizer.layers) == 8
    inputs = AutoProcessor.from_pretrained(folder)(text=["rock"], audio=torch.randn(12800).numpy(),
                                                   sampling_rate=32000, return_tensors="pt")
    assert model.generate(**inputs, max_new_tokens=20).shape == (1, 1, (10 + 20 + 1 - 4) * 1280)
