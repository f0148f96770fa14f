"""The commands of the documentation that need AudioCraft, as they stand there, on a small machine."""

import json
import os
import shutil

import documents
import pytest
import recipes
from omegaconf import OmegaConf
from place import IS_MAIN, SOURCE, Place

# What makes the debug trainings of AudioCraft end within seconds, on a CPU and without a hub.
SMALL = {"musicgen": [*recipes.LANGUAGE_MODEL, *recipes.GENERATION], "compression": recipes.ENCODEC}
GROUPS = ("solver", "dset", "model/lm/model_scale")
SAID = ("sample_rate", "rvq.bins", "rvq.n_q")  # by the page


@pytest.fixture
def clone(tmp_path):
    """A clone of AudioCraft, with its example music, whose debug configurations are small."""
    folder = tmp_path / "audiocraft"
    for name in ("audiocraft", "config"):
        shutil.copytree(SOURCE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for solver, recipe in SMALL.items():
        path = folder / "config" / "solver" / solver / "debug.yaml"
        cfg = OmegaConf.load(path)
        for key, value in (arg.lstrip("+").split("=", 1) for arg in recipe):
            if key not in (*GROUPS, *SAID):
                OmegaConf.update(cfg, key, OmegaConf.create(f"value: {value}").value, force_add=True)
        path.write_text("# @package __global__\n" + OmegaConf.to_yaml(cfg))
    (folder / "egs").mkdir()
    Place(tmp_path).music.rename(folder / "egs" / "example")
    lines = (folder / "egs" / "example" / "data.jsonl").read_text().replace(str(tmp_path / "music"), "egs/example")
    (folder / "egs" / "example" / "data.jsonl").write_text(lines)
    assert json.loads(lines.splitlines()[0])["path"].startswith("egs/example/")
    return folder


@pytest.mark.skipif(IS_MAIN, reason="the signatures in the pages are those of AudioCraft 1.3.0")
@pytest.mark.parametrize("page", documents.pages_of("audiocraft"), ids=documents.name_of)
def test_every_command_of_a_page_that_needs_audiocraft_can_be_run(page, clone, tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "DORA_PACKAGE"}
    env.update(AUDIOCRAFT_DORA_DIR=str(clone / "outputs"), HF_HUB_OFFLINE="1", PYTHONWARNINGS="ignore",
               OMP_NUM_THREADS="1")
    result = documents.run_page(page, "audiocraft", clone, tmp_path / "tools", env)
    documents.check_shown(page, "audiocraft", result)
