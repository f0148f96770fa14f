"""An experiment as Dora, Hydra and an AudioCraft solver store it."""

import json

import pytest
from helpers import with_cfg

from .commands import PRETRAINED


@pytest.fixture
def train(make_xp):
    """Write the files that Dora and Hydra store next to the checkpoint of an XP."""
    def make(sig, argv, losses=(), solver="musicgen", epochs=4, **sections):
        history = [{"train": {"ce": 9.}, "valid": {"ce": loss, "ppl": 1.}} for loss in losses]
        folder = make_xp(sig, **{"history": history, "xp.cfg": with_cfg(
            solver=solver, compression_model_checkpoint=PRETRAINED), **sections})
        (folder / ".argv.json").write_text(json.dumps(argv))
        (folder / "history.json").write_text(json.dumps(history))
        (folder / ".hydra").mkdir(exist_ok=True)
        (folder / ".hydra" / "config.yaml").write_text(
            f"seed: 1\nsolver: {solver}\noptim:\n  lr: 1\n  betas:\n  - 1\n  epochs: {epochs}\nother:\n  epochs: 9\n")
        return folder
    return make
