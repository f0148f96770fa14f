"""Experiments as a training leaves them: the demo's solver with models of any size, and Dora folders with many XPs."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import torch
from omegaconf import open_dict

from audiocraft_export.demo.solver import DemoSolver
from audiocraft_export.demo.state import copy_state
from audiocraft_export.demo.train import main
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.pipeline.export import export_experiment

CODEBOOKS = {"lm.card": 2048, "lm.n_q": 4}  # of MusicGen
SIZES = {
    "20M": {**CODEBOOKS, "lm.dim": 384, "lm.num_heads": 6, "lm.num_layers": 8},
    "150M": {**CODEBOOKS, "lm.dim": 768, "lm.num_heads": 12, "lm.num_layers": 20},
    "420M": {**CODEBOOKS, "lm.dim": 1024, "lm.num_heads": 16, "lm.num_layers": 32},
}
SMALL = {"lm.dim": 128, "lm.num_heads": 4, "lm.num_layers": 4}
TINY = {"lm.dim": 16, "lm.num_heads": 2, "lm.num_layers": 4}
METRICS = {"ce": 3.2, "ppl": 24.5, "duration": 61.7}


def experiment(**values):
    """The folder of an XP of the demo, with the checkpoint of a training; written once.

    Args:
        **values: what its command line sets.
    """
    xp = main.get_xp([f"{key}={value}" for key, value in values.items()])
    if not (xp.folder / "checkpoint.th").exists():
        main.init_xp(xp)
        with open_dict(xp.cfg):
            del xp.cfg["export"], xp.cfg["exporter"]
        with xp.enter():
            _finish(DemoSolver(xp.cfg))
    return xp.folder


def holes(xp, number):
    """A checkpoint of 2.5 GB that takes no room."""
    with open(xp / "checkpoint.th", "wb") as stream:
        stream.truncate(2_500_000_000)


def mixture():
    """Gives XPs real checkpoints of tiny models, and their releases: what `put` of `dora_folder` may be.

    Of twenty, twelve are fresh, three stale, three have no release, one has a damaged one, and one no checkpoint.
    """
    example = experiment(**TINY)
    shutil.rmtree(example / "export", ignore_errors=True)
    state = torch.load(example / "checkpoint.th", weights_only=False)
    report = export_experiment(Experiment.from_folder(example))
    weights = report.files[0].read_bytes()

    def put(xp, number):
        kind = number % 20
        if kind == 0:
            return
        torch.save({**state, "xp.sig": xp.name}, xp / "checkpoint.th")
        if kind > 3:
            stat = (xp / "checkpoint.th").stat()
            source = {"name": "checkpoint.th", "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns - 10**9 * (kind < 7)}
            (xp / "export").mkdir(exist_ok=True)
            (xp / "export" / "state_dict.bin").write_bytes(weights[kind == 7:])
            (xp / "export" / "export.json").write_text(replace(report.manifest, sig=xp.name, checkpoint=source).text)
    return put


def dora_folder(folder, count, put=holes):
    """A Dora folder with so many XPs of 50 epochs; written once.

    Args:
        folder: where it is to be.
        count: how many.
        put: puts all but Dora's own files into the folder of an XP, by its number.
    """
    if not (folder / "ready").exists():
        history = json.dumps([{"train": METRICS, "valid": METRICS}] * 50)
        for number in range(count):
            xp = folder / "xps" / sha256(str(number).encode()).hexdigest()[:8]
            xp.mkdir(parents=True, exist_ok=True)
            (xp / ".argv.json").write_text(json.dumps(["solver=musicgen/musicgen_base_32khz", f"optim.lr={number}"]))
            (xp / "history.json").write_text(history)
            put(xp, number)
        (folder / "ready").touch()
    return folder


def _finish(solver):
    """What a training leaves: the moments of Adam, the average, the best state in half precision, one epoch."""
    for parameter in solver.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    solver.optimizer.step()
    solver.ema.step()
    solver.run_stage("valid", lambda: {"ce": 1.0})
    best = solver.best_state["model"] = copy_state(solver.model.state_dict())
    best.update({name: tensor.half() for name, tensor in best.items() if tensor.is_floating_point()})
    solver.commit()
