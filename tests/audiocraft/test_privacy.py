"""Private values in AudioCraft's own configurations, and what scrub=public leaves of them."""

import pytest
from experiment.privacy.text import exposed_in_text
from place import SOURCE

from audiocraft_export.experiment.config import Config
from audiocraft_export.experiment.privacy.detectors import KnownNames
from audiocraft_export.experiment.privacy.exposure import find_private_values
from audiocraft_export.experiment.privacy.scrub import scrub_config

SOLVERS = sorted(str(path.relative_to(SOURCE / "config" / "solver").with_suffix(""))
                 for path in (SOURCE / "config" / "solver").glob("*/*.yaml"))
CONDITIONERS = sorted(path.stem for path in (SOURCE / "config" / "conditioner").glob("*.yaml"))
COMPOSED = [*([f"solver={name}", "dset=audio/example"] for name in SOLVERS if name != "compression/default"),
            *(["solver=musicgen/musicgen_base_32khz", f"conditioner={name}"] for name in CONDITIONERS)]


@pytest.fixture(scope="module")
def configurations():
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    with initialize_config_dir(str(SOURCE / "config"), version_base="1.1"):
        return [Config.parse(OmegaConf.to_yaml(compose("config", overrides=line))) for line in COMPOSED]


def test_only_the_dora_folder_is_found_in_a_configuration_of_audiocraft(configurations):
    assert len(configurations) > 15
    for config in configurations:
        assert [each.key for each in find_private_values(config.values, KnownNames())] == ["dora.dir"]
        found = exposed_in_text("x", config.text, KnownNames())
        assert [each.value.partition("/$")[0] for each in found] == ["/checkpoint"]


def test_the_public_learns_how_a_model_was_built_and_trained(configurations):
    same = ("optim", "schedule", "transformer_lm", "dataset", "solver", "sample_rate", "fuser", "seanet", "rvq",
            "diffusion_unet", "compression_model_checkpoint", "metrics", "evaluate")
    for config in configurations:
        left = scrub_config(config, ["public"])
        assert all(left.values.get(key) == config.values.get(key) for key in same)
        assert not {"datasource", "slurm", "wandb", "dora", "logging", "tensorboard"} & set(left.values)
        assert find_private_values(left.values, KnownNames()) == []
