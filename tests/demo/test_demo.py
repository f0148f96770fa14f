"""Run the demo project as a user does: training, DDP, FSDP, resuming, releases."""

import json

import pytest
import torch
from helpers import command, dora, load, only_xp, run, same

from audiocraft_export.demo.model import CodebookLM

DEMO = "audiocraft_export.demo"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anywhere")
    result = run("dora", "-P", DEMO, "run", "checkpoint.save_every=1", "export=true", cwd=folder)
    assert result.returncode == 0, result.stderr
    return only_xp(folder)


def stored(xp, name="checkpoint.th"):
    return torch.load(xp / name, weights_only=False)


def test_demo_learns_and_keeps_the_averaged_weights_of_its_best_epoch(trained):
    state = stored(trained)
    scores = [epoch["valid"]["ce"] for epoch in state["history"]]
    assert scores[-1] < scores[0]
    assert same(state["best_state"]["model"], {**state["model"], **state["ema"]["state"]["model"]})
    assert not same(state["best_state"]["model"], state["model"])


def test_demo_release_loads_into_its_model_and_is_light(trained):
    release = trained / "export" / "state_dict.bin"
    package = load(release)
    model = CodebookLM(card=64, n_q=4, dim=64, num_heads=4, num_layers=2)
    model.load_state_dict(package["best_state"], strict=True)
    assert same(package["best_state"], stored(trained)["best_state"]["model"])
    assert release.stat().st_size < (trained / "checkpoint.th").stat().st_size / 3


@pytest.mark.parametrize("weights", ["last", "ema"])
def test_other_weights_and_older_checkpoints_of_the_demo(trained, tmp_path, weights):
    result = command("run", str(trained), "--weights", weights, "--checkpoint", "1", "--folder", str(tmp_path / "out"),
                     cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    state = stored(trained, "checkpoint_1.th")
    expected = state["model"] if weights == "last" else {**state["model"], **state["ema"]["state"]["model"]}
    assert same(load(tmp_path / "out" / "state_dict.bin")["best_state"], expected)


def test_demo_goes_on_where_it_stopped(trained):
    root = trained.parents[2]
    result = dora("run", "optim.epochs=3", "export=only", cwd=root, package=DEMO)
    assert result.returncode == 0 and "already exported" in result.stderr
    state = stored(trained)
    torch.save({**state, "history": state["history"][:2]}, trained / "checkpoint.th")
    (trained / "history.json").write_text(json.dumps(state["history"][:2]))
    assert dora("run", cwd=root, package=DEMO).returncode == 0
    assert len(stored(trained)["history"]) == 3 and only_xp(root) == trained


def test_demo_without_checkpoints_exports_the_state_it_has(tmp_path):
    result = dora("run", "checkpoint.save_last=false", "export=true", "optim.epochs=1", cwd=tmp_path, package=DEMO)
    assert result.returncode == 0, result.stderr
    assert not (only_xp(tmp_path) / "checkpoint.th").exists()
    state = load(only_xp(tmp_path) / "export" / "state_dict.bin")["best_state"]
    CodebookLM(card=64, n_q=4, dim=64, num_heads=4, num_layers=2).load_state_dict(state, strict=True)
    assert result.stderr.count("exported") == 1


def test_demo_without_checkpoints_exports_its_moving_average(tmp_path):
    result = dora("run", "checkpoint.save_last=false", "export=true", "optim.epochs=1", "exporter.weights=ema",
                  cwd=tmp_path, package=DEMO)
    assert result.returncode == 0, result.stderr
    assert json.loads((only_xp(tmp_path) / "export" / "export.json").read_text())["weights"] == "ema"


def test_fsdp_needs_workers(tmp_path):
    result = dora("run", "fsdp.use=true", cwd=tmp_path, package=DEMO)
    assert result.returncode != 0 and "dora run -d" in result.stderr


def test_two_workers_train_one_model_and_make_one_release(tmp_path):
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", "optim.epochs=1", cwd=tmp_path, package=DEMO)
    assert result.returncode == 0, result.stderr
    xp = only_xp(tmp_path)
    assert same(load(xp / "export" / "state_dict.bin")["best_state"], stored(xp)["best_state"]["model"])
    assert result.stderr.count("exported:") == 1


@pytest.mark.skipif(torch.__version__.startswith("2.1."), reason="FSDP of torch 2.1 has no CPU (nox runs newer ones)")
def test_under_fsdp_the_gathered_best_state_is_released(tmp_path):
    for _ in range(2):  # the second run resumes, and exports again
        result = dora("run", "-d", "--ddp_workers", "2", "fsdp.use=true", "export=true", "optim.epochs=1",
                      cwd=tmp_path, package=DEMO)
        assert result.returncode == 0, result.stderr
    assert "already exported" in result.stderr
    xp = only_xp(tmp_path)
    state = stored(xp)
    whole, shard = state["fsdp_best_state"]["model"], state["best_state"]["model"]
    assert list(whole) == list(shard) and not same(whole, shard)
    assert same(load(xp / "export" / "state_dict.bin")["best_state"], whole)
    CodebookLM(card=64, n_q=4, dim=64, num_heads=4, num_layers=2).load_state_dict(whole, strict=True)
    result = command("run", str(xp / "checkpoint.th.1"), "--folder", "shard", cwd=tmp_path)
    assert result.returncode == 1 and "FSDP" in result.stderr and not (tmp_path / "shard").exists()
