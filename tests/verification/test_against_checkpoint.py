"""Compare a release with its checkpoint."""

import pytest
import torch
from formats.safetensors.releases import exported
from helpers import SIG, command, model_state
from omegaconf import OmegaConf

from audiocraft_export import export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.verification.against_checkpoint import checkpoint_of, compare_with_checkpoint


def test_a_release_is_compared_with_its_checkpoint(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir)
    compared = ["verify", folder, "--against", SIG, "--dora-dir", dora_dir]
    assert command(*compared, cwd=folder).returncode == 0
    make_xp(best_state={"model": model_state(9)})
    assert "values differ from the checkpoint" in command(*compared, cwd=folder).stdout


@pytest.mark.parametrize("release_format", ["audiocraft", "safetensors"])
def test_nan_is_the_same_value_as_in_the_checkpoint(make_xp, dora_dir, release_format):
    state = {"w": torch.ones(2), "_extra_state": {"amax": float("nan"), "zero": -0.}}
    folder = make_xp(best_state={"model": state})
    report = export_xp(SIG, dora_dir, format=release_format, card=False)

    def problems():
        return compare_with_checkpoint(report.folder, open_checkpoint(folder / "checkpoint.th"), folder).problems
    assert not problems()
    make_xp(best_state={"model": {**state, "_extra_state": {"amax": float("nan"), "zero": 0.}}})
    assert problems()


def test_a_release_with_its_codec_is_compared_with_its_checkpoint(make_xp, dora_dir, tmp_path):
    make_xp("aaaaaaaa", **{"xp.cfg": OmegaConf.create({"solver": "compression", "compression_model": "encodec"})})
    cfg = {"solver": "musicgen", "compression_model_checkpoint": "//sig/aaaaaaaa"}
    folder = exported(make_xp, dora_dir, **{"xp.cfg": OmegaConf.create(cfg)})
    assert (folder / "compression_model.safetensors").exists()
    result = command("verify", folder, "--against", SIG, "--dora-dir", dora_dir, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_tensor_that_differs_is_a_problem_of_its_own_behind_where_the_release_is_from(make_xp, dora_dir):
    state, other = model_state(), model_state(9)
    folder = exported(make_xp, dora_dir, best_state={"model": state})
    path = dora_dir / "xps" / SIG / "checkpoint.th"
    assert compare_with_checkpoint(folder, open_checkpoint(path), path.parent).problems == []
    assert checkpoint_of(folder) is None  # the last problem
    first = min(other)
    make_xp(best_state={"model": {**state, first: other[first]}})
    origin, *problems = compare_with_checkpoint(folder, open_checkpoint(path), path.parent).problems
    assert "made from another version of " in str(origin) and len(problems) == 1 and problems[0].key.endswith(first)
