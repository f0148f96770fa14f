"""Models that only AudioCraft's git main (1.4.0a) has: AudioSeal and JASCO."""

import json

import pytest
import recipes
import torch
from conftest import load, public_release, same, stored


@pytest.fixture(scope="module")
def watermark(place):
    return place.train(recipes.WATERMARK, "export=true", "exporter.verify=load")


def test_audiocraft_loads_a_released_watermarking_model_and_it_marks(watermark):
    from audiocraft.models.loaders import load_audioseal_models
    name = watermark.name
    files = [file["name"] for file in json.loads((watermark / "export" / "export.json").read_text())["files"]]
    assert files == [f"generator_{name}.pth", f"detector_{name}.pth", f"{name}.yaml"]
    model = load_audioseal_models(str(watermark / "export"), filename=name)
    assert same(dict(model.state_dict()), stored(watermark)["best_state"]["model"])
    wav = torch.randn(1, 1, 16000)
    assert model.detect_watermark(model(wav, torch.zeros(1, 16, dtype=torch.int32))).shape == (1, 18, 16000)


def test_a_scrubbed_watermarking_model_loads(watermark, tmp_path):
    from audiocraft.models.loaders import load_audioseal_models
    folder = public_release(tmp_path / "public", watermark)
    model = load_audioseal_models(str(folder), filename=watermark.name)
    assert same(dict(model.state_dict()), stored(watermark)["best_state"]["model"])


def test_an_unrelated_yaml_in_the_release_folder_is_ignored(place, watermark):
    (watermark / "export" / "a.yaml").write_text("mine: 1")
    assert "already exported" in place.export(watermark, "--verify", "load").stdout


def test_a_released_watermarking_model_is_not_bound_to_the_device_of_its_training(watermark):
    assert "device" not in (watermark / "export" / f"{watermark.name}.yaml").read_text()


@pytest.fixture(scope="module")
def jasco(place):
    """Write the checkpoint of a JASCO model built by AudioCraft, whose published code cannot train one."""
    from audiocraft.models import CompressionModel, builders
    from audiocraft.train import main
    from omegaconf import OmegaConf, open_dict
    xp = main.get_xp(place.argv(recipes.JASCO))
    with open_dict(xp.cfg):
        del xp.cfg.transformer_lm.emb_lr, xp.cfg.transformer_lm.two_step_cfg
    model = builders.get_jasco_model(xp.cfg, CompressionModel.get_pretrained("debug_compression_model"))
    folder = place.dora_dir / "xps" / xp.sig
    folder.mkdir(parents=True)
    torch.save({"best_state": {"model": model.state_dict()}, "fsdp_best_state": {}, "model": model.state_dict(),
                "history": [{"valid": {"loss": 0.5}}], "xp.cfg": OmegaConf.create(xp.cfg), "xp.sig": xp.sig},
               folder / "checkpoint.th")
    return folder


def test_audiocraft_loads_a_released_jasco_model(place, jasco):
    from audiocraft.models import CompressionModel
    from audiocraft.models.loaders import load_compression_model, load_jasco_model
    place.export(jasco, "--verify", "load")
    codec = load_compression_model(str(jasco / "export"))
    assert type(codec) is type(CompressionModel.get_pretrained("debug_compression_model"))
    model = load_jasco_model(str(jasco / "export"), codec)
    assert same(dict(model.state_dict()), load(jasco / "export" / "state_dict.bin")["best_state"])
    assert same(dict(model.state_dict()), dict(stored(jasco)["best_state"]["model"]))


def test_a_scrubbed_jasco_model_loads(jasco, tmp_path):
    from audiocraft.models.loaders import load_compression_model, load_jasco_model
    folder = public_release(tmp_path / "public", jasco)
    model = load_jasco_model(str(folder), load_compression_model(str(folder)))
    assert same(dict(model.state_dict()), load(folder / "state_dict.bin")["best_state"])
