"""The commands of the documentation that need AudioCraft."""

import json
import os
import shutil

import documents
import pytest
import recipes
from omegaconf import OmegaConf
from place import IS_MAIN, SOURCE, Place

# Overrides with which the debug trainings of AudioCraft end within seconds, on a CPU and without the Hub.
SMALL = {"musicgen": [*recipes.LANGUAGE_MODEL, *recipes.GENERATION], "compression": recipes.ENCODEC}
GROUPS = ("solver", "dset", "model/lm/model_scale")
IN_PAGES = ("sample_rate", "rvq.bins", "rvq.n_q")  # keys that the pages set themselves
FROM_NOTHING = "audiocraft.md"  # the page that makes its own dataset and overrides


def clone(folder):
    """Make a clone of AudioCraft with its example music, whose debug configurations are small."""
    for name in ("audiocraft", "config"):
        shutil.copytree(SOURCE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for solver, recipe in SMALL.items():
        path = folder / "config" / "solver" / solver / "debug.yaml"
        cfg = OmegaConf.load(path)
        for key, value in (arg.lstrip("+").split("=", 1) for arg in recipe):
            if key not in (*GROUPS, *IN_PAGES):
                OmegaConf.update(cfg, key, OmegaConf.create(f"value: {value}").value, force_add=True)
        path.write_text("# @package __global__\n" + OmegaConf.to_yaml(cfg))
    (folder / "egs").mkdir()
    music = Place(folder.parent).music
    music.rename(folder / "egs" / "example")
    lines = (folder / "egs" / "example" / "data.jsonl").read_text().replace(str(music), "egs/example")
    (folder / "egs" / "example" / "data.jsonl").write_text(lines)
    assert json.loads(lines.splitlines()[0])["path"].startswith("egs/example/")


@pytest.mark.skipif(IS_MAIN, reason="the signatures in the pages are those of AudioCraft 1.3.0")
@pytest.mark.parametrize("page", documents.pages_of("audiocraft"), ids=documents.name_of)
def test_every_command_of_a_page_that_needs_audiocraft_can_be_run(page, tmp_path):
    folder = tmp_path / "session"
    if page.name != FROM_NOTHING:
        clone(folder)
    env = {"HF_HUB_OFFLINE": "1", "USER": os.environ["USER"], "AUDIOCRAFT_DORA_DIR": str(folder / "outputs")}
    documents.run_page(page, "audiocraft", tmp_path, env, folder)
