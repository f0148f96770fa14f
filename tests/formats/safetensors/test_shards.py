"""Models in several shards."""

import json

import pytest
import torch
from helpers import same

from audiocraft_export import ExportOptions, convert
from audiocraft_export.checkpoint.torch_tensors import from_torch
from audiocraft_export.errors import CheckpointError, OptionError
from audiocraft_export.formats.safetensors.layout import split_into_shards
from audiocraft_export.verification.release import verify

from .releases import OPTIONS, digests, exported, fitting, opened


@pytest.mark.parametrize("most, files", [("20KB", 3), ("20000", 3), (1 << 13, 5), ("1GB", 1)])
def test_a_model_that_is_too_large_for_one_file_has_several_and_an_index(make_xp, dora_dir, most, files):
    state = {f"{index}.weight": torch.randn(64, 32) for index in range(5)}
    folder = exported(make_xp, dora_dir, ExportOptions(format="safetensors", max_shard_size=most),
                      best_state={"model": state})
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) == files and verify(folder).ok
    found = {name: tensor for shard in shards for name, tensor in opened(shard)[0].items()}
    assert same(dict(sorted(found.items())), state)
    if files > 1:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert {*index["weight_map"]} == {*state} and index["metadata"]["total_size"] == 5 * 64 * 32 * 4
        assert all((folder / name).is_file() for name in index["weight_map"].values())


@pytest.mark.parametrize("change", [
    lambda places: places.update(dict.fromkeys(places, min(places.values()))),
    lambda places: places.pop(min(places)), lambda places: places.update(more=min(places.values()))],
    ids=["elsewhere", "left out", "more"])
def test_an_index_that_does_not_say_where_the_tensors_are_is_refused(make_xp, dora_dir, change):
    state = {f"{index}.weight": torch.randn(64, 32) for index in range(5)}
    folder = exported(make_xp, dora_dir, OPTIONS.replace(max_shard_size="20KB"), best_state={"model": state})
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    change(index["weight_map"])
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    fitting(folder)
    assert not verify(folder).ok


@pytest.mark.parametrize("most", ["5GB", 500])
def test_values_that_no_reader_would_read_are_refused_and_the_release_stays(make_xp, dora_dir, most):
    state = {"a": torch.ones(100), "b": torch.ones(100), "extra": bytes(26_000_000)}
    folder = exported(make_xp, dora_dir, ExportOptions(), best_state={"model": state})
    before = digests(folder)
    with pytest.raises(CheckpointError, match="safetensors supports 33.6 MB of names and plain values"):
        convert(folder, "safetensors", max_shard_size=most)
    assert digests(folder) == before


def test_the_text_is_in_the_one_file_or_in_the_index_of_several():
    tensors = from_torch({name: torch.ones(300) for name in "ab"})
    one = split_into_shards("model", tensors, {"format": "pt"}, {"kind": "x"}, "1GB")
    assert [*one] == ["model.safetensors"] and one["model.safetensors"].metadata == {"format": "pt", "kind": "x"}
    many = split_into_shards("model", tensors, {"format": "pt"}, {"kind": "x"}, 1300)
    *shards, index = many
    assert [many[name].metadata for name in shards] == [{"format": "pt"}] * 2
    assert json.loads(many[index])["metadata"] == {"format": "pt", "kind": "x", "total_size": 2400}
    with pytest.raises(OptionError, match="for max_shard_size: .*Use a size such as 5GB"):
        split_into_shards("model", tensors, {}, {}, "some")
