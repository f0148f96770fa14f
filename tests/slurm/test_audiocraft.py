"""Stock AudioCraft through `audiocraft_export.train`: `dora launch` and `dora grid`, from a clone of its repository."""

import json
import pickle
import re
import shutil
import subprocess
from textwrap import dedent

import pytest
import recipes
from cluster import verify
from place import SOURCE, STOCK, Place

GRID = """
    from ._explorers import LMExplorer

    @LMExplorer
    def explorer(launcher):
        launcher.slurm_(gpus=1, mem_per_gpu=3, cpus_per_gpu=1, time=10, partition={partition!r})
        launcher.bind_({recipe!r})
        launcher.bind_({own!r})
        with launcher.job_array():
            launcher(label="first")
            launcher(label="second")
"""


@pytest.fixture(scope="module")
def clone(slurm, tmp_path_factory):
    """Clone AudioCraft, and configure the resources of this cluster."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("audiocraft", "config", "assets"):
        shutil.copytree(SOURCE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "config" / "config.yaml"
    settings = re.sub(r"\nslurm:\n(  .*\n)+", f"\n{slurm.config(mem_per_gpu=3, time=10)}", config.read_text())
    config.write_text(settings)
    (folder / ".gitignore").write_text("__pycache__\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for step in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "AudioCraft"]):
        subprocess.run([*git, *step], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def place(clone, tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"), clone)


def signatures(result):
    return re.findall(r"\b[0-9a-f]{8}\b", result.stdout + result.stderr)


def test_stock_audiocraft_is_launched_through_us_and_released(slurm, place):
    argv = place.argv(recipes.MUSICGEN)
    sig, = set(signatures(place.dora("info", *argv, package=STOCK)))
    place.dora("launch", "--no_tail", *argv, "export=true")
    slurm.finish(place.root)
    xp = place.dora_dir / "xps" / sig
    assert "export" not in (xp / ".argv.json").read_text()
    assert "/codes/" in re.search("CWD is (.*)", slurm.log(place.root))[1]  # AudioCraft sets git_save
    job, = xp.glob("submitit/*_submitted.pkl")
    main, *_ = pickle.loads(job.read_bytes()).args
    assert b"audiocraft_export.train.main" in main
    assert verify(xp / "export", "--against", xp).returncode == 0
    assert [path.name for path in sorted((xp / "export").iterdir())] == [
        "compression_state_dict.bin", "export.json", "state_dict.bin"]


def test_a_grid_of_stock_audiocraft_ends_in_releases(slurm, place, clone):
    recipe = place.argv(recipes.MUSICGEN)
    for name, own in (("without", {}), ("mine", {"export": True, "exporter.dtype": "float16"})):
        grid = dedent(GRID).format(partition=slurm.partition, recipe=recipe, own=own)
        (clone / "audiocraft" / "grids" / "musicgen" / f"{name}.py").write_text(grid)  # requires no commit
    stock = place.dora("grid", "musicgen.without", "--no_monitoring", "--dry_run", package=STOCK)
    place.dora("grid", "musicgen.mine", "--no_monitoring")
    assert set(signatures(stock)) == {path.name for path in place.dora_dir.glob("grids/musicgen.mine/*")}
    slurm.finish(place.root)
    for xp in place.dora_dir.glob("grids/musicgen.mine/*"):
        assert json.loads((xp / "export" / "export.json").read_text())["options"]["dtype"] == "float16"
        assert verify(xp / "export", "--against", xp).returncode == 0
