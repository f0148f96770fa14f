"""Train MusicGen, AudioGen and MAGNeT, export them by the hook, and generate sound with AudioCraft."""

import pytest
import recipes
import torch
from conftest import IS_OLD, as_audiocraft, heard, load, public_release, same, stored

from audiocraft_export import ExportError, ExportOptions, export_checkpoint
from audiocraft_export.pipeline.convert import convert

RECIPES = {"musicgen": recipes.MUSICGEN, "stereo": recipes.STEREO, "audiogen": recipes.AUDIOGEN,
           "magnet": recipes.MAGNET, "audio_magnet": recipes.AUDIO_MAGNET}


@pytest.fixture(scope="module", params=RECIPES)
def trained(request, place):
    return request.param, place.train(RECIPES[request.param], "export=true", "exporter.verify=load",
                                      "exporter.card=true")


def pretrained(name, folder):
    """Load the model with the public API."""
    from audiocraft.models import AudioGen, MAGNeT, MusicGen
    loader = MAGNeT if "magnet" in name else AudioGen if name == "audiogen" else MusicGen
    return loader.get_pretrained(str(folder), device="cpu")


def generated(name, folder):
    """Generate one second of audio from a text; return the audio and the model."""
    torch.manual_seed(0)
    model = pretrained(name, folder)
    model.set_generation_params(**{"decoding_steps": [2, 1, 1, 1]} if "magnet" in name else {"duration": 1})
    return model, model.generate(["happy rock"])


def test_the_release_is_that_of_audiocraft_s_own_functions(trained, tmp_path):
    name, xp = trained
    ours, theirs = load(xp / "export" / "state_dict.bin"), as_audiocraft("export_lm", xp / "checkpoint.th", tmp_path)
    assert list(ours) == list(theirs) == ["best_state", "xp.cfg", "version", "exported"]
    assert same(ours.pop("best_state"), theirs.pop("best_state")) and ours == theirs
    codec = as_audiocraft("export_pretrained_compression_model", "debug_compression_model", tmp_path)
    assert load(xp / "export" / "compression_state_dict.bin") == codec


def test_the_release_generates_and_its_weights_are_the_best_state(trained):
    name, xp = trained
    model, audio = generated(name, xp / "export")
    channels = 2 if name == "stereo" else 1
    assert audio.shape[:2] == (1, channels) and audio.isfinite().all()
    assert audio.shape[2] == 32000 * (24 if "magnet" in name else 1)
    best = stored(xp)["best_state"]["model"]
    assert best and same(dict(model.lm.state_dict()), best)


def test_a_scrubbed_release_is_the_same_model(trained, tmp_path):
    name, xp = trained
    public, whole = (pretrained(name, folder) for folder in (public_release(tmp_path / "public", xp), xp / "export"))
    assert same(dict(public.lm.state_dict()), dict(whole.lm.state_dict()))
    assert str(public.lm) == str(whole.lm) and public.generation_params == whole.generation_params
    assert public.duration == whole.duration and public.max_duration == whole.max_duration


def test_the_code_of_its_card_makes_sound(trained):
    name, xp = trained
    audio = heard(xp / "export")["audio"]
    assert audio.shape == (1, 2 if name == "stereo" else 1, 32000 * (24 if "magnet" in name else 5))
    assert audio.isfinite().all()


def test_a_release_in_safetensors_is_proven_by_audiocraft_and_comes_back(trained, tmp_path):
    name, xp = trained
    verify = "load" if name in ("musicgen", "magnet") else "bytes"
    options = ExportOptions(format="safetensors", verify=verify, version="1.3.0", card=False)
    folder = export_checkpoint(xp / "checkpoint.th", tmp_path / "release", options).folder
    convert(folder, "audiocraft")
    assert all((folder / name).read_bytes() == (xp / "export" / name).read_bytes()
               for name in ("state_dict.bin", "compression_state_dict.bin"))


@pytest.mark.skipif(IS_OLD, reason="the pins of AudioCraft have an older transformers")
def test_transformers_gets_the_decoder_alone_where_it_knows_no_conditioner_and_no_magnet(trained, tmp_path):
    from transformers import MusicgenForCausalLM
    name, xp = trained
    options = ExportOptions(format="transformers", verify="load")
    if "magnet" in name:
        with pytest.raises(ExportError, match="transformers has no MAGNeT.* Use format=safetensors"):
            export_checkpoint(xp / "checkpoint.th", tmp_path / "release", options)
        assert not (tmp_path / "release").exists()
        return
    folder = export_checkpoint(xp / "checkpoint.th", tmp_path / "release", options).folder
    model, info = MusicgenForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()) and model.config.vocab_size == 400
    assert (folder / "conditioners.safetensors").exists() and heard(folder)["codes"].max() < 400


def test_a_model_that_loads_only_with_its_codec_is_not_verified_without(trained, place, tmp_path):
    name, xp = trained
    result = place.export(xp, "--codec", "none", "--verify", "load", "--folder", tmp_path / "lm", check=False)
    if "magnet" in name:
        assert result.returncode == 1 and "builds this model only together with it" in result.stderr
    else:
        assert result.returncode == 0


def test_the_best_state_is_the_moving_average_and_no_copy_of_the_last(trained):
    state = stored(trained[1])
    best, last = state["best_state"]["model"], state["model"]
    assert not same(best, last) and same(best, {**last, **state["ema"]["state"]["model"]})
