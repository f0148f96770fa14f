"""verify: what is wrong with one file of a release, key by key."""

import pytest
import torch
from helpers import load, model_state

from audiocraft_export import verify
from audiocraft_export.release.content import model_content

from .releases import flip, found, rewrite


def test_a_damaged_tensor_is_named(release):
    flip(release / "state_dict.bin", model_state(3)["linears.0.weight"].numpy().tobytes())
    (problem,) = verify(release).problems
    assert (problem.file, problem.key) == ("state_dict.bin", "best_state.linears.0.weight")
    assert "CRC-32" in str(problem) and "\n" not in str(problem)
    assert verify(release / "state_dict.bin").problems == [problem]


@pytest.mark.parametrize(("changes", "key"), [
    ({"version": ...}, "version"), ({"exported": False}, "exported"), ({"exported": 1}, "exported"),
    ({"xp.cfg": "- a list"}, "xp.cfg"), ({"xp.cfg": {"a": 1}}, "xp.cfg"), ({"best_state": []}, "best_state"),
    ({"optimizer": {}}, "optimizer"), ({"version": 3}, "version")])
def test_a_key_that_is_missing_wrong_or_too_much_is_named(release, changes, key):
    rewrite(release / "state_dict.bin", **changes)
    assert ("state_dict.bin", key) in [problem[:2] for problem in found(release)]
    assert ("state_dict.bin", key) in [problem[:2] for problem in found(release / "state_dict.bin")]


def test_what_torch_does_not_load_with_weights_only_is_named(release):
    path = release / "state_dict.bin"
    torch.save({**model_content(load(path)["best_state"], "a: 1", "1"), "exported": torch.nn.Linear(1, 1)}, path)
    problems = str(verify(path))
    assert "torch.nn.modules.linear.Linear" in problems


def test_a_tensor_with_more_than_its_own_bytes_is_named(release):
    path = release / "state_dict.bin"
    torch.save(model_content({"w": torch.arange(9.0)[1:3]}, "a: 1", "1"), path)
    assert found(path)[0][:2] == ("state_dict.bin", "best_state.w")


@pytest.mark.parametrize("size", [0, 1, 100, 1000])
def test_a_truncated_file_is_named(release, size):
    path = release / "compression_state_dict.bin"
    path.write_bytes(path.read_bytes()[:size])
    assert [problem[:2] for problem in found(release)] == [(path.name, None)]


def test_a_training_checkpoint_is_no_release(make_xp):
    result = verify(make_xp() / "checkpoint.th")
    assert len(result.problems) == 1 and "is a training checkpoint" in str(result) and "optimizer" in str(result)
