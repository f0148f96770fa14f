"""Compare the weights of two releases, of any formats."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import SIG, with_cfg

from audiocraft_export import ExportError, export_xp
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.verification.weights import compare_weights, read_weights

WEIGHT = torch.arange(12.).reshape(3, 4)
STATE = {"w": WEIGHT, "tied": WEIGHT, "v": torch.ones(3), "n": torch.tensor(1)}


@pytest.fixture
def release(make_xp, dora_dir, tmp_path):
    """Release weights to a folder with a name."""
    make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})

    def make(name, state=STATE, **options):
        make_xp(best_state={"model": state}, **{"xp.cfg": with_cfg(
            solver="musicgen", compression_model_checkpoint="//sig/c0dec000", name=name)})
        return export_xp(SIG, dora_dir, folder=tmp_path / name, card=False, **options).folder
    return make


def problems(one, other):
    return [(each.file, each.key, each.what.replace(str(other), "OTHER"))
            for each in compare_weights(read_weights(one), read_weights(other))]


@pytest.mark.parametrize("options", [{}, {"format": "safetensors"}, {"format": "safetensors", "max_shard_size": 20}],
                         ids=str)
def test_the_same_weights_are_found_in_any_format(release, options):
    one, other = release("one"), release("other", **options)
    assert problems(one, other) == problems(other, one) == []
    assert read_weights(one).digest == read_weights(other).digest


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_differences_are_named_with_the_file_and_the_tensor(release, format):
    other = {"w": WEIGHT + 1, "v": torch.ones(3, dtype=torch.float16), "n": torch.tensor([1]), "new": torch.ones(1)}
    one, other = release("one", format=format), release("other", other)
    file = "state_dict.bin" if format == "audiocraft" else "model.safetensors"
    assert problems(one, other) == [
        (file, "best_state.w", "values differ from OTHER"), (file, "best_state.tied", "not in OTHER"),
        (file, "best_state.v", "float32 [3], but float16 [3] in OTHER"),
        (file, "best_state.n", "int64 [], but int64 [1] in OTHER"),
        (file, "best_state.new", "missing, but in OTHER")]


def test_another_compression_model_is_a_difference(release, make_xp):
    one = release("one")
    make_xp("c0dec000", best_state={"model": {"emb.0.weight": torch.ones(5, 4)}},
            **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    other = release("other", format="safetensors")
    assert {file for file, *_ in problems(one, other)} == {"compression_state_dict.bin"}
    assert {file for file, *_ in problems(other, one)} == {"compression_model.safetensors"}


def test_a_file_is_compared_with_its_counterpart(release, tmp_path):
    one, other = release("one"), release("other", format="safetensors")
    for name, counterpart in (("state_dict.bin", "model"), ("compression_state_dict.bin", "compression_model")):
        assert problems(one / name, other) == problems(other, one / name) == []
        assert problems(one / name, other / f"{counterpart}.safetensors") == []
    assert problems(one / "export.json", other) == []
    renamed = tmp_path / "renamed.bin"
    renamed.write_bytes((one / "state_dict.bin").read_bytes())
    assert problems(renamed, other) == []
    with pytest.raises(ExportError, match="have no tensor with the same name"):
        problems(one / "state_dict.bin", other / "compression_model.safetensors")


def test_a_digest_of_the_manifest_that_is_not_that_of_the_files_is_a_problem(release):
    one, other = release("one", digest=True), release("other")
    assert problems(one, other) == []
    text = replace(Manifest.load(one), content_digest="sha256:0").text
    (one / "export.json").write_text(text)
    found, = problems(one, other)
    assert found[:2] == ("export.json", "content_digest") and found[2].startswith("sha256:0 in the manifest, sha256:")


@pytest.mark.parametrize("name", ["config.yaml", "model-00002-of-00003.safetensors", "nowhere", "export.txt"])
def test_a_path_without_the_tensors_of_a_model_is_refused(release, name):
    folder = release("one", format="safetensors", max_shard_size=20)
    (folder / "export.txt").write_text("x")
    with pytest.raises(ExportError) as refusal:
        read_weights(folder / name)
    assert refusal.value.code in ("wrong-target", "path-not-found") and refusal.value.hint


def test_a_damaged_release_is_refused(release):
    folder = release("one")
    data = bytearray((folder / "state_dict.bin").read_bytes())
    data[data.index(WEIGHT.numpy().tobytes())] ^= 1
    (folder / "state_dict.bin").write_bytes(data)
    with pytest.raises(ExportError) as refusal:
        read_weights(folder)
    assert refusal.value.code == "corrupted-file"


def test_the_digest_does_not_depend_on_the_manifest(release):
    folder = release("one", digest=True)
    values = json.loads(Path(folder / "export.json").read_text())
    assert read_weights(folder).digest == values["content_digest"] == read_weights(folder).recorded
