"""Train the bands of MultiBand Diffusion, release them together, and generate sound."""

import pytest
import recipes
import torch
from conftest import heard, load, public_release, same, stored
from omegaconf import OmegaConf

FILE = "diffusion_state_dict.bin"


@pytest.fixture(scope="module")
def bands(place):
    """Train the two bands of a model; the second one rescales its signal with its own statistics."""
    split = ["filter.use=true", "filter.n_bands=2"]
    return [place.train([*recipes.DIFFUSION, *split, f"filter.idx_band={index}", f"processor.use={use}"],
                        "export=true", "exporter.verify=load") for index, use in [(0, "false"), (1, "true")]]


@pytest.fixture(scope="module")
def release(place, bands, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bands") / "mbd"
    names = [xp.name for xp in bands]
    result = place.export("--bands", *names, "--folder", folder, "--dora-dir", place.dora_dir, "--verify", "load",
                          "--card")
    assert ", ".join(names) in result.stdout
    return folder


def test_audiocraft_loads_every_band_with_the_weights_of_its_best_state(bands, release):
    from audiocraft.models.loaders import load_diffusion_models
    models, processors, cfgs = load_diffusion_models(str(release), filename=FILE)
    assert len(models) == len(processors) == len(cfgs) == 2
    for model, processor, cfg, xp in zip(models, processors, cfgs, bands):
        state = stored(xp)
        assert same(dict(model.state_dict()), state["best_state"]["model"])
        assert same(dict(processor.state_dict()), state["sample_processor"])
        assert cfg.processor.use == bool(state["sample_processor"])
    for index, xp in enumerate(bands):
        assert load(release / FILE)[index]["xp.cfg"] == OmegaConf.to_yaml(stored(xp)["xp.cfg"])


def test_the_bands_make_a_sound_together(release):
    assert sound_of(release).shape == (1, 1, 32000)


def test_the_code_of_their_card_makes_a_sound(release):
    assert heard(release)["decoded"].shape == (1, 1, 32000)


def test_scrubbed_bands_sound_the_same(bands, release, tmp_path):
    public = public_release(tmp_path / "public", *bands)
    assert torch.equal(sound_of(public), sound_of(release))
    for part in (load(public / FILE)[index] for index in range(2)):
        assert "datasource" not in part["cfg"] and part["cfg"]["optim"] and part["cfg"]["filter"]


def sound_of(release):
    from audiocraft.models import CompressionModel, MultiBandDiffusion
    from audiocraft.models.loaders import load_diffusion_models
    from audiocraft.models.multibanddiffusion import DiffusionProcess
    from audiocraft.modules.diffusion_schedule import NoiseSchedule
    models, processors, cfgs = load_diffusion_models(str(release / FILE))
    processes = [DiffusionProcess(model, NoiseSchedule(**cfg.schedule, sample_processor=processor, device="cpu"))
                 for model, processor, cfg in zip(models, processors, cfgs)]
    torch.manual_seed(0)
    mbd = MultiBandDiffusion(processes, CompressionModel.get_pretrained("debug_compression_model"))
    return mbd.regenerate(torch.randn(1, 1, 32000), 32000)


def test_a_release_of_one_band_has_a_warning(bands):
    content = load(bands[1] / "export" / FILE)
    assert content["n_bands"] == 1 and content["sample_rate"] == 32000 and content["exported"] is True
    assert "only band 1 of 2" in (bands[1] / "export" / "export.json").read_text()


def test_bands_that_are_not_all_or_not_in_order_are_refused(place, bands, tmp_path):
    first, second = bands
    for names, says in [([second, first], f"not in order ({second.name}: 1, {first.name}: 0)\n  hint: give them in "
                                          f"this order: {first.name} {second.name}\n"),
                        ([first], "Missing or repeated bands"), ([first, first], "Missing or repeated bands")]:
        result = place.export("--bands", *names, "--folder", tmp_path / "mbd", check=False)
        assert result.returncode == 1 and says in result.stderr, result.stderr
    assert not (tmp_path / "mbd").exists()
