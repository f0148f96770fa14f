"""Problems of a single file of a release, by key."""

import pytest
import torch
from helpers import load, model_state

from audiocraft_export import ExportError, verify
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


def test_files_that_torch_refuses_with_weights_only_are_named(release):
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


def test_a_training_checkpoint_is_not_a_release(make_xp):
    checkpoint = make_xp() / "checkpoint.th"
    with pytest.raises(ExportError, match="is a training checkpoint, not a release. Export it first: audiocraft-exp"):
        verify(checkpoint)
    result = verify(checkpoint.rename(checkpoint.with_name("state_dict.bin")))
    assert len(result.problems) == 1 and "training checkpoint (" in str(result) and "optimizer" in str(result)


@pytest.mark.parametrize(("data", "says"), [
    (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file itself"),
    (b"PK\3\4" + b"x" * 96, "is truncated or has unexpected bytes at its end")], ids=["pointer", "truncated"])
def test_a_problem_says_what_a_file_is_without_its_name(release, data, says):
    (release / "state_dict.bin").write_bytes(data)
    assert found(release)[0] == ("state_dict.bin", None, says)
