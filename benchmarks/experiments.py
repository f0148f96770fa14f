"""Create experiments: checkpoints of the demo's solver with models of any size, and Dora folders with many XPs."""

import json
import shutil
from dataclasses import asdict, replace
from hashlib import sha256

import torch
from omegaconf import OmegaConf, open_dict

from audiocraft_export.checkpoint.torch_file import TorchFile
from audiocraft_export.demo.solver import DemoSolver
from audiocraft_export.demo.state import copy_state
from audiocraft_export.demo.train import main
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.pipeline.export import export_experiment
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.storage.durable_file import WrittenFile

CODEBOOKS = {"lm.card": 2048, "lm.n_q": 4}  # of MusicGen
SIZES = {
    "12M": {**CODEBOOKS, "lm.dim": 320, "lm.num_heads": 5, "lm.num_layers": 6},
    "20M": {**CODEBOOKS, "lm.dim": 384, "lm.num_heads": 6, "lm.num_layers": 8},
    "150M": {**CODEBOOKS, "lm.dim": 768, "lm.num_heads": 12, "lm.num_layers": 20},
    "420M": {**CODEBOOKS, "lm.dim": 1024, "lm.num_heads": 16, "lm.num_layers": 32},
}
SMALL = {"lm.dim": 128, "lm.num_heads": 4, "lm.num_layers": 4}
TINY = {"lm.dim": 16, "lm.num_heads": 2, "lm.num_layers": 4}
METRICS = {"ce": 3.2, "ppl": 24.5, "duration": 61.7}


def experiment(**values):
    """Return the folder of an XP of the demo with a checkpoint; create it if it does not exist.

    Args:
        **values: overrides of its configuration.
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
    """Write a sparse checkpoint of 2.5 GB that needs no disk space."""
    with open(xp / "checkpoint.th", "wb") as stream:
        stream.truncate(2_500_000_000)


def mixture():
    """Return a function for `put` of `dora_folder` that adds checkpoints of tiny models and their releases.

    Of 20 XPs, 12 have an up-to-date release, 3 a stale one, 3 none, 1 a damaged one, and 1 has no checkpoint.
    """
    put = up_to_date()

    def put_mixed(xp, number):
        kind = number % 20
        if kind:
            put(xp, number)
        if 0 < kind < 4:
            shutil.rmtree(xp / "export")
        elif 3 < kind < 7:
            manifest = Manifest.load(xp / "export")
            _write_manifest(xp, manifest, {**manifest.checkpoint, "identity": "0" * 64})
        elif kind == 7:
            (xp / "export" / "state_dict.bin").write_bytes(b"damaged")
    return put_mixed


def up_to_date():
    """Return a function for `put` of `dora_folder` that adds checkpoints of tiny models and up-to-date releases."""
    example = experiment(**TINY)
    shutil.rmtree(example / "export", ignore_errors=True)
    state = torch.load(example / "checkpoint.th", weights_only=False)
    report = export_experiment(Experiment.from_folder(example))

    def put(xp, number):
        torch.save({**state, "xp.sig": xp.name}, xp / "checkpoint.th")
        shutil.copytree(report.folder, xp / "export", dirs_exist_ok=True)
        _write_manifest(xp, report.manifest, asdict(TorchFile.read(xp / "checkpoint.th").source))
    return put


def listed():
    """Return a function for `put` of `dora_folder` that adds what `list` reads: it opens no checkpoint."""
    example = experiment(**TINY)
    manifest = export_experiment(Experiment.from_folder(example)).manifest
    manifest = replace(manifest, files=[WrittenFile("state_dict.bin", 4, "0" * 64)])
    config = OmegaConf.to_yaml(main.get_xp_from_sig(example.name).cfg)

    def put(xp, number):
        holes(xp, number)
        for name, text in ((".hydra/config.yaml", config), ("export/state_dict.bin", "data")):
            (xp / name).parent.mkdir(exist_ok=True)
            (xp / name).write_text(text)
        stat = (xp / "checkpoint.th").stat()
        _write_manifest(xp, manifest, {"name": "checkpoint.th", "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns,
                                       "identity": "0" * 64})
    return put


def _write_manifest(xp, manifest, source):
    (xp / "export" / "export.json").write_text(replace(manifest, sig=xp.name, checkpoint=source).text)


def dora_folder(folder, count, put=holes):
    """Create a Dora folder with XPs of 50 epochs, if it does not exist, and return it.

    Args:
        folder: path of the Dora folder.
        count: number of XPs.
        put: function that writes checkpoint and release into the folder of an XP, given its number.
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
    """Fill in the state after one epoch: the moments of Adam, the EMA, the best state in half precision."""
    for parameter in solver.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    solver.optimizer.step()
    solver.ema.step()
    solver.run_stage("valid", lambda: {"ce": 1.0})
    best = solver.best_state["model"] = copy_state(solver.model.state_dict())
    best.update({name: tensor.half() for name, tensor in best.items() if tensor.is_floating_point()})
    solver.commit()
