"""Flashy solvers without AudioCraft, and XPs for them."""

import json

import flashy
import torch
from dora.conf import DoraConfig
from dora.xp import XP
from helpers import SOLVER, dora, only_xp
from omegaconf import OmegaConf

from audiocraft_export import ExportMixin

OF_MIXIN = SOLVER.replace("import flashy\n", "import flashy\n    from audiocraft_export import ExportMixin\n").replace(
    "flashy.BaseSolver)", "ExportMixin, flashy.BaseSolver)")


class Base(flashy.BaseSolver):
    """A solver without AudioCraft that trains one weight and keeps its best state."""

    def __init__(self, epochs=2, save=True):
        super().__init__()
        self.model = torch.nn.Linear(2, 1)
        self.best_state = {}
        self.epochs, self.save = epochs, save
        self.register_stateful("model", "best_state")

    def train(self):
        with torch.no_grad():
            self.model.weight.add_(1)
        return {"ce": 1 / self.epoch}


class Training(Base):
    def run(self):
        for _ in range(self.epochs):
            self.run_stage("train", self.train)
            self.best_state = {"model": {name: value.clone() for name, value in self.model.state_dict().items()}}
            self.commit(save_checkpoint=self.save)
        return "done"


class Inherited(ExportMixin, Training):
    pass


def xp_of(dora_dir, **cfg):
    xp = XP(DoraConfig(dir=dora_dir), OmegaConf.create(cfg), [], sig="0123abcd", delta=[])
    xp.folder.mkdir(parents=True)
    return xp


def interrupted(root, **changes):
    """Train two epochs, and change the checkpoint as if the first was the last; return the metrics of the first."""
    assert dora("run", cwd=root).returncode == 0
    path = only_xp(root) / "checkpoint.th"
    state = torch.load(path, weights_only=False)
    torch.save({**state, "history": state["history"][:1], **changes}, path)
    (path.parent / "history.json").write_text(json.dumps(state["history"][:1]))
    return state["history"][0]
