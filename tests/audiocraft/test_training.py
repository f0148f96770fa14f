"""`DORA_PACKAGE=audiocraft_export` keeps the usual commands of AudioCraft working."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import recipes
import torch
from conftest import same, stored
from omegaconf import open_dict
from place import OURS, SOURCE, STOCK

COMMAND_LINES = [[*line, "dset=audio/example"] for line in [
    ["solver=musicgen/debug"], ["solver=musicgen/debug", "seed=1"], ["solver=musicgen/debug", "optim.lr=1e-4"],
    ["solver=musicgen/debug", "optim.lr=0.0001"], ["solver=musicgen/debug", "label=null"],
    ["solver=musicgen/debug", "label=export"], ["solver=musicgen/debug", "dataset.segment_duration=null"],
    ["solver=musicgen/debug", "optim.adam.betas=[0.8,0.99]"], ["solver=musicgen/debug", "device=cpu"],
    ["solver=musicgen/debug", "+extra.key=new"], ["solver=musicgen/debug", "++optim.lr=3"],
    ["solver=musicgen/debug", "conditioner=none"], ["solver=musicgen/musicgen_base_32khz", "conditioner=text2music"],
    ["solver=musicgen/musicgen_base_32khz", "model/lm/model_scale=small", "transformer_lm.num_layers=3"],
    ["solver=musicgen/musicgen_melody_32khz", "generate.every=5", "execute_only=generate"],
    ["solver=audiogen/audiogen_base_16khz", "fsdp.use=true", "autocast=false"],
    ["solver=magnet/magnet_32khz", "masking.span_len=2", "generate.lm.decoding_steps=[2,1,1,1]"],
    ["solver=compression/debug", "rvq.bins=256", "losses.l1=0.5"],
    ["solver=compression/encodec_musicgen_32khz", "slurm.gpus=8", "dora.dir=/elsewhere"],
    ["solver=diffusion/debug", "filter.use=true", "filter.cutoffs=[100.0,1000.0]"],
    ["solver=diffusion/debug", "compression_model_checkpoint=//sig/0123abcd", "label='a b'"],
    recipes.MUSICGEN, recipes.STEREO,
]]
OWN = [[], ["export=true"], ["exporter.folder=/a b/c", "export=only", "exporter=float16"]]
SIGNATURES = """
import json, sys
from {package}.train import main
lines = json.loads(sys.argv[1])
print(json.dumps([[main.get_xp(line).sig for line in lines], main.get_slurm_config().__dict__, main.dora.grid_package,
                  str(main.dora.dir), sorted(set(main.dora.exclude) - {{"export", "exporter", "exporter.*"}})]))
"""


class Hostile:
    """Touches a file when it is unpickled by `pickle`."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def asked(place, package, lines):
    result = place.python("-c", SIGNATURES.format(package=package), json.dumps(lines))
    return json.loads(result.stdout.splitlines()[-1])


def test_signatures_slurm_settings_and_dora_folder_are_those_of_audiocraft(place):
    sigs, *settings = asked(place, STOCK, COMMAND_LINES)
    with_export, *ours = asked(place, OURS, [[*line[:len(line) // 2], *own, *line[len(line) // 2:]]
                                             for line in COMMAND_LINES for own in OWN])
    assert with_export == [sig for sig in sigs for _ in OWN]
    assert len(set(sigs)) >= 15  # some are intentionally the same experiment
    settings[1] = settings[1] or "audiocraft.grids"
    assert ours == settings


@pytest.mark.parametrize(("verb", "count"), [
    (["info", "solver=compression/debug", "dset=audio/example"], 1),
    (["grid", "compression.debug", "--dry_run", "--no_monitoring", "--init"], 2)])
def test_info_and_grid_work_as_without_the_plugin(place, verb, count):
    theirs, ours = (place.dora(*verb, package=package) for package in (STOCK, OURS))
    sigs = [re.findall(r"\b[0-9a-f]{8}\b", result.stdout + result.stderr) for result in (theirs, ours)]
    assert sigs[0] == sigs[1] and len(set(sigs[0])) == count


@pytest.fixture(scope="module")
def interrupted(place):
    """Kill a training of stock AudioCraft after its first epoch; return its arguments and its XP."""
    argv = place.argv([*recipes.MUSICGEN, "optim.epochs=3", "label=interrupted", "optim.optimizer=dadam",
                       "schedule.lr_scheduler=cosine", "schedule.cosine.warmup=1"])
    before = set(place.xps)
    command = [sys.executable, "-m", "dora", "-P", STOCK, "run", *argv]
    process = subprocess.Popen(command, cwd=SOURCE, env=place.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        found = [xp for xp in set(place.xps) - before if (xp / "checkpoint.th").exists()]
        if found:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return argv, found[0]


def test_an_interrupted_training_goes_on_through_us_and_stock_reads_it(place, interrupted):
    argv, xp = interrupted
    stock = (xp / ".argv.json").read_text()
    assert len(stored(xp)["history"]) < 3
    result = place.dora("run", *argv, "export=true")
    assert "Loading existing checkpoint" in result.stdout + result.stderr
    history = json.loads((xp / "history.json").read_text())
    assert len(history) == 3 and len(stored(xp)["history"]) == 3
    assert json.loads((xp / "export" / "export.json").read_text())["epoch"] == 3
    assert (xp / ".argv.json").read_text() == stock
    assert "export" not in stored(xp)["xp.cfg"]
    code = """
import sys
from importlib.util import find_spec
import torch
assert find_spec("audiocraft_export") is None
from audiocraft.train import get_solver_from_sig
solver = get_solver_from_sig(sys.argv[1])
torch.save(solver.model.state_dict(), sys.argv[2])
"""
    place.python("-c", code, xp.name, str(xp / "loaded.th"), PYTHONPATH=str(SOURCE),
                 TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    assert same(dict(torch.load(xp / "loaded.th")), stored(xp)["best_state"]["model"])


@pytest.mark.parametrize("own", ["execute_only=generate", "show=true"])
def test_runs_that_train_nothing_export_nothing(place, interrupted, own):
    xp = place.train([*recipes.MUSICGEN, own, f"continue_from=//sig/{interrupted[1].name}"], "export=true")
    assert not (xp / "export").exists() and not (xp / "checkpoint.th").exists()


GLOO = """
import dora.distrib  # AudioCraft's workers insist on nccl, and so on GPUs
init = dora.distrib.init
dora.distrib.init = lambda: init("gloo")
"""


def test_asking_for_an_experiment_exports_nothing(place, interrupted):
    before = set(place.xps)
    assert f"{interrupted[1]}\n" in place.dora("info", *interrupted[0], "export=true").stderr
    assert set(place.xps) == before


def test_workers_are_started_through_us_and_one_of_them_exports(place, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(GLOO)
    before = set(place.xps)
    result = place.dora("run", "-d", "--ddp_workers", "2", *place.argv([*recipes.MUSICGEN, "label=ddp"]), "export=true",
                        PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    xp, = set(place.xps) - before
    assert (xp / "export" / "export.json").exists()
    assert (result.stdout + result.stderr).count(" exported: ") == 1


@pytest.mark.skipif(torch.__version__.startswith("2.1."), reason="torch.load is unsafe by default before 2.6")
@pytest.mark.parametrize("key", ["continue_from", "compression_model_checkpoint"])
def test_torch_refuses_a_hostile_checkpoint_and_runs_nothing(place, interrupted, tmp_path, key):
    hostile = interrupted[1].with_name("0badbad0")
    shutil.copytree(interrupted[1], hostile, dirs_exist_ok=True)
    torch.save({**stored(hostile), "history": Hostile(tmp_path / "executed")}, hostile / "checkpoint.th")
    result = place.dora("run", *interrupted[0], f"{key}=//sig/{hostile.name}", f"label={key}", check=False)
    assert result.returncode != 0 and "Weights only load failed" in result.stdout + result.stderr
    assert not (tmp_path / "executed").exists()
    stored(hostile)
    assert (tmp_path / "executed").exists()


def test_the_epochs_that_are_due_are_exported_while_stock_solvers_train(place):
    before = set(place.xps)
    result = place.dora("run", *place.argv([*recipes.MUSICGEN, "optim.epochs=3", "label=meanwhile"]), "export=true",
                        "exporter.when=best")
    xp, = set(place.xps) - before
    losses = [epoch["valid"]["ce"] for epoch in json.loads((xp / "history.json").read_text())]
    due = [epoch for epoch, loss in enumerate(losses, 1) if loss == min(losses[:epoch])]
    text = result.stdout + result.stderr
    said = re.findall(r"(?<!already )exported: best_state of epoch \d, after (\d) epochs?", text)
    assert [*map(int, said)] == [*due, 3]  # only the export at the end is read back
    assert json.loads((xp / "export" / "export.json").read_text())["read_back"] == "device"
    assert same(torch.load(xp / "export" / "state_dict.bin")["best_state"], stored(xp)["best_state"]["model"])
    assert "when" not in json.loads((xp / "export" / "export.json").read_text())["options"]


def test_weights_that_a_stock_solver_does_not_store_are_refused_before_the_training(place):
    argv = place.argv([*recipes.MUSICGEN, "label=typo"])
    result = place.dora("run", *argv, "export=true", "exporter.weights=lats", check=False)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "weights=lats requires a section" in result.stderr and "weights=last" in result.stderr.splitlines()[-1]
    assert "Train Summary" not in result.stdout + result.stderr


def test_verify_rebuilds_a_release_with_the_loaders_of_audiocraft(place, interrupted, tmp_path):
    release, xp = tmp_path / "release", interrupted[1]
    place.export(xp, "--folder", release)
    verify = ["-m", "audiocraft_export", "verify", str(release)]
    assert place.python(*verify, "--load", "--against", str(xp)).stdout.count(": intact\n") == 3
    state = stored(xp)
    with open_dict(state["xp.cfg"]):
        state["xp.cfg"].transformer_lm.nobody_takes_this = 1
    torch.save(state, tmp_path / "checkpoint.th")
    place.export(tmp_path / "checkpoint.th", "--folder", release)
    assert place.python(*verify).returncode == 0
    result = place.python(*verify, "--load", check=False)
    assert result.returncode == 1 and "cannot load the model" in result.stdout and "nobody_takes_this" in result.stdout
