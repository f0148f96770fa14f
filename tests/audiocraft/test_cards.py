"""The code of model cards, run as it stands there in the folder of a release that AudioCraft trained."""

import pytest
import recipes
from snippets import snippet_of

from audiocraft_export.checkpoint import open_checkpoint
from audiocraft_export.hf.card import card
from audiocraft_export.release import Manifest

MADE = {"musicgen": ("audio", (1, 1, 160000)), "stereo": ("audio", (1, 2, 160000)),
        "audiogen": ("audio", (1, 1, 160000)), "magnet": ("audio", (1, 1, 768000)),
        "encodec": ("decoded", (1, 1, 32000)), "diffusion": ("decoded", (1, 1, 32000))}
RECIPES = {"musicgen": recipes.MUSICGEN, "stereo": recipes.STEREO, "audiogen": recipes.AUDIOGEN,
           "magnet": recipes.MAGNET, "encodec": recipes.ENCODEC, "diffusion": recipes.DIFFUSION}


@pytest.mark.parametrize("name", RECIPES)
def test_the_code_of_a_card_makes_sound(name, place, monkeypatch):
    xp = place.train(RECIPES[name], "export=true")
    checkpoint = open_checkpoint(xp / "checkpoint.th")
    text = card(Manifest.read(xp / "export"), checkpoint.config, checkpoint.history)
    monkeypatch.chdir(xp / "export")
    names = {}
    exec(snippet_of(text), names)
    variable, shape = MADE[name]
    assert names[variable].shape == shape and names[variable].isfinite().all(), text
