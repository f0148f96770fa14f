"""Fixtures of all tests: a Dora folder, XPs in it, and toy Dora projects."""

import os
import signal
from textwrap import dedent

import pytest
import torch
from helpers import CONFIG, SIG, SOLVER, TRAIN, solver_state

# A shell starts background jobs with SIGINT ignored, which the processes that tests interrupt would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The workers of pytest-xdist share the cores: each thread of torch would only take time from another test.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def dora_dir(tmp_path):
    return tmp_path / "outputs"


@pytest.fixture
def make_xp(dora_dir):
    """Write the checkpoint of an XP; `...` leaves a section out."""
    def make(sig=SIG, name="checkpoint.th", **sections):
        folder = dora_dir / "xps" / sig
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(solver_state(**{"sig": sig, **sections}), folder / name)
        return folder
    return make


@pytest.fixture
def project(tmp_path):
    """Write a Flashy + Dora + Hydra project, and return its folder."""
    def make(package="proj", wrapped=True, config_path="conf", config_name="config", version_base="1.3", config="",
             solver=SOLVER, root=tmp_path, dora_dir="outputs"):
        home = root.joinpath(*package.split("."))
        home.mkdir(parents=True, exist_ok=True)
        for parent in [home, *home.parents]:
            if parent == root:
                break
            (parent / "__init__.py").touch()
        train = TRAIN.format(
            imports="from audiocraft_export import with_export" if wrapped else "",
            decorator="@with_export" if wrapped else "", config_path=config_path, config_name=config_name,
            version_base="" if version_base == "absent" else f", version_base={version_base!r}")
        (home / "train.py").write_text(dedent(train))
        (home / "solver.py").write_text(dedent(solver))
        folder = home / config_path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{config_name}.yaml").write_text(dedent(CONFIG).format(dora_dir=dora_dir) + dedent(config))
        return root
    return make
