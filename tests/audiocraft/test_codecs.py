"""Train and release EnCodec, alone and with the language models that were trained on it."""

import json

import pytest
import recipes
import torch
from conftest import as_audiocraft, heard, load, public_release, same, stored
from place import IS_MAIN


@pytest.fixture(scope="module")
def musicgen(place, encodec):
    codec = f"compression_model_checkpoint=//sig/{encodec.name}"
    return place.train([*recipes.MUSICGEN_ON, *recipes.ON_ENCODEC, codec], "export=true", "exporter.verify=load")


def released(xp):
    return xp / "export" / "compression_state_dict.bin"


def test_a_trained_codec_is_released_as_audiocraft_s_own_function_does(encodec, tmp_path):
    ours, theirs = load(released(encodec)), as_audiocraft("export_encodec", encodec / "checkpoint.th", tmp_path)
    assert list(ours) == list(theirs)
    assert same(ours.pop("best_state"), theirs.pop("best_state")) and ours == theirs


def test_a_released_codec_encodes_and_decodes_with_the_weights_of_the_best_state(encodec):
    from audiocraft.models import CompressionModel
    model = CompressionModel.get_pretrained(str(released(encodec)))
    codes, scale = model.encode(torch.randn(1, 1, 32000))
    assert model.decode(codes, scale).shape == (1, 1, 32000) and codes.shape[1] == 4
    assert same(dict(model.state_dict()), stored(encodec)["best_state"]["model"])


def test_the_code_of_its_card_encodes_and_decodes(encodec):
    assert heard(encodec / "export")["decoded"].shape == (1, 1, 32000)


def test_a_language_model_and_the_codec_it_was_trained_on_make_one_folder(encodec, musicgen):
    from audiocraft.models import MusicGen
    model = MusicGen.get_pretrained(str(musicgen / "export"), device="cpu")
    model.set_generation_params(duration=1)
    assert model.generate(["happy rock"]).shape == (1, 1, 32000)
    assert same(dict(model.lm.state_dict()), stored(musicgen)["best_state"]["model"])
    assert same(dict(model.compression_model.state_dict()), stored(encodec)["best_state"]["model"])
    assert released(musicgen).read_bytes() == released(encodec).read_bytes()


def test_a_language_model_and_its_codec_load_after_scrubbing(encodec, musicgen, tmp_path):
    from audiocraft.models import CompressionModel, MusicGen
    wav = torch.randn(1, 1, 32000)
    folder = public_release(tmp_path / "codec", encodec)
    public, whole = (CompressionModel.get_pretrained(str(path / "compression_state_dict.bin"))
                     for path in (folder, encodec / "export"))
    assert torch.equal(public.encode(wav)[0], whole.encode(wav)[0]) and public.sample_rate == whole.sample_rate
    folder = public_release(tmp_path / "both", musicgen)
    model = MusicGen.get_pretrained(str(folder), device="cpu")
    assert same(dict(model.lm.state_dict()), stored(musicgen)["best_state"]["model"])
    assert same(dict(model.compression_model.state_dict()), stored(encodec)["best_state"]["model"])
    assert load(folder / "compression_state_dict.bin")["xp.cfg"] != load(released(encodec))["xp.cfg"]


@pytest.mark.parametrize("form", [
    "//sig/{sig}", "{xps}/{sig}", "{xps}/{sig}/checkpoint.th", "//reference/{sig}", "//reference/{sig}/checkpoint.th",
    "//sig/{sig}/", "//sig/{sig}/checkpoint.th", "//reference//{sig}", "//pretrained/{file}",
    "//pretrained/debug_compression_model"])
def test_every_form_that_audiocraft_takes_is_released_as_the_model_that_it_takes_it_for(
        place, encodec, musicgen, form, tmp_path, monkeypatch):
    from audiocraft import train
    from audiocraft.models import CompressionModel
    from audiocraft.solvers import CompressionSolver
    from omegaconf import open_dict

    from audiocraft_export import export_xp
    from audiocraft_export.hooks.safe_globals import allow_config_classes
    form = form.format(sig=encodec.name, xps=encodec.parent, file=released(encodec))
    monkeypatch.setattr(train.main.dora, "dir", place.dora_dir)
    monkeypatch.setenv("AUDIOCRAFT_REFERENCE_DIR", str(encodec.parent))
    allow_config_classes()
    torch.manual_seed(0)
    theirs = CompressionSolver.model_from_checkpoint(form)
    state = stored(musicgen)
    with open_dict(state["xp.cfg"]):
        state["xp.cfg"].compression_model_checkpoint = form
    sig = f"{abs(hash(form)):016x}"[:8]
    (encodec.parent / sig).mkdir()
    torch.save({**state, "xp.sig": sig}, encodec.parent / sig / "checkpoint.th")
    report = export_xp(sig, place.dora_dir)
    torch.manual_seed(0)
    assert same(dict(CompressionModel.get_pretrained(str(report.files[1])).state_dict()), dict(theirs.state_dict()))


def test_reference_is_where_audiocraft_s_team_settings_say(place, encodec, musicgen, tmp_path):
    teams = tmp_path / "team.yaml"
    teams.write_text(f"default: {{dora_dir: /nowhere, reference_dir: {encodec.parent}, partitions: {{global: x}}}}\n")
    code = "from audiocraft_export.release.installed_audiocraft import reference_folder; print(reference_folder())"
    result = place.python("-c", code, AUDIOCRAFT_CONFIG=str(teams), AUDIOCRAFT_CLUSTER="default")
    assert result.stdout.splitlines()[-1] == str(encodec.parent)


def test_a_release_starts_a_new_training(place, encodec, musicgen):
    xp = place.train([*recipes.MUSICGEN_ON, *recipes.ON_ENCODEC, "optim.lr=0",
                      f"continue_from=//pretrained/{musicgen / 'export'}",
                      f"compression_model_checkpoint=//pretrained/{released(encodec)}"], "export=true")
    assert same(load(xp / "export" / "state_dict.bin")["best_state"], stored(musicgen)["best_state"]["model"])
    assert released(xp).read_bytes() == released(encodec).read_bytes()
    assert "file" in json.loads((xp / "export" / "export.json").read_text())["codec"]


def test_a_released_codec_starts_a_new_training(place, encodec):
    xp = place.train([*recipes.ENCODEC, "optim.lr=0", f"continue_from=//pretrained/{released(encodec)}"], "export=true")
    ours, theirs = load(released(xp))["best_state"], load(released(encodec))["best_state"]
    trained = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert trained and all("_codebook" in name for name in trained)  # averages of the data, not of gradients


def test_a_model_that_audiocraft_cannot_load_fails_the_export(place):
    recipe = [arg for arg in recipes.MUSICGEN if "description" not in arg]
    recipe[recipe.index("conditioner=text2music")] = "conditioner=none"
    xp = place.train(recipe, "export=true", "exporter.verify=load", check=False)
    assert (xp / "checkpoint.th").exists() and not (xp / "export").exists()
    result = place.export(xp, "--verify", "load", check=False)
    assert result.returncode == 1 and result.stderr.splitlines()[-2].startswith("error[load-failed]: ")
    assert "argument of type 'NoneType' is not iterable" in result.stderr.splitlines()[-2]
    assert place.export(xp).returncode == 0


@pytest.mark.parametrize(("changes", "says"), [
    ({"transformer_lm.num_layers": 3}, "Missing key(s) in state_dict"),
    ({"transformer_lm.dim": 33}, "AssertionError: "),
    ({"compression_model_checkpoint": "//pretrained/nobody/nothing"}, "OSError: "),
    ({"solver": "magnet", "compression_model_checkpoint": "//pretrained/nobody/nothing"}, "OSError: "),
    ({"solver": "jasco"}, "AttributeError" if IS_MAIN else "has no loader for this kind of model"),
    ({"solver": "watermarking", "audioseal": {}, "detector": {}}, "is not an AudioSeal model")])
def test_the_reason_of_a_failed_load_is_one_line(place, musicgen, tmp_path, changes, says):
    from omegaconf import OmegaConf, open_dict
    state = stored(musicgen)
    with open_dict(state["xp.cfg"]):
        state["xp.cfg"].compression_model_checkpoint = "//pretrained/debug_compression_model"
        for key, value in changes.items():
            OmegaConf.update(state["xp.cfg"], key, value)
    torch.save(state, tmp_path / "checkpoint.th")
    args = [tmp_path / "checkpoint.th", "--folder", tmp_path / "release"]
    result = place.export(*args, "--verify", "load", check=False)
    reason, hint = result.stderr.splitlines()[-2:]
    assert result.returncode == 1 and reason.startswith("error[") and says in reason and not reason.endswith(": ")
    assert hint.startswith("  hint: ") and not (tmp_path / "release").exists()


def test_verify_load_without_a_codec_loads_the_language_model(place, musicgen, tmp_path):
    assert place.export(musicgen, "--codec", "none", "--verify", "load", "--folder", tmp_path / "lm").returncode == 0


def test_verify_load_leaves_the_random_numbers_of_a_training_alone(place, musicgen, tmp_path):
    from audiocraft_export import ExportOptions, export_checkpoint
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    export_checkpoint(musicgen / "checkpoint.th", tmp_path, ExportOptions(verify="load"))
    assert torch.equal(torch.rand(3), expected)
