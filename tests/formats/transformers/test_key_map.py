"""Map names in both directions without dropping a tensor."""

import pytest
import torch

from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.checkpoint.torch_tensors import from_torch, to_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.key_map import KeyMap, join_tensors, split_tensor
from audiocraft_export.release.model import ReleaseModel

RULES = {
    "layers.*.in_proj": ("blocks.*.q", "blocks.*.k", "blocks.*.v"),
    "layers.*.norm": "blocks.*.layer_norm",
    "towers.*.floors.*.door": "entrances.*.levels.*",
    "head": "lm_head",
}


@pytest.fixture
def state():
    return {"layers.0.in_proj": torch.arange(24.0).reshape(6, 4), "layers.11.in_proj": torch.rand(6, 4).half(),
            "layers.0.norm": torch.rand(4), "towers.1.floors.22.door": torch.tensor(7), "head": torch.rand(2, 3)}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(to_torch(left[name]), right[name]) for name in left)


def test_names_and_parts_are_those_of_transformers(state):
    renamed = KeyMap(RULES).to_transformers(from_torch(state))
    q, k, v = state["layers.0.in_proj"].chunk(3)
    assert same({name: renamed[name] for name in renamed if name.startswith("blocks.0.")},
                {"blocks.0.q": q, "blocks.0.k": k, "blocks.0.v": v, "blocks.0.layer_norm": state["layers.0.norm"]})
    assert {"blocks.11.q", "entrances.1.levels.22", "lm_head"} <= renamed.keys() and len(renamed) == 9


def test_converting_back_restores_the_tensors(state):
    names = KeyMap(RULES)
    there = names.to_transformers(from_torch(state))
    shuffled = dict(sorted(there.items(), reverse=True))
    for tensors in (there, shuffled):
        back = names.to_audiocraft(tensors)
        assert same(back, state) and all(back[name].dtype == str(state[name].dtype)[6:] for name in state)


def test_tensors_in_a_larger_storage_are_cut_where_they_are():
    whole = torch.arange(40.0).reshape(10, 4)
    tensor = from_torch({"part": whole[2:8]})["part"]
    parts = split_tensor(tensor, 3)
    assert [to_torch(part).tolist() for part in parts] == [each.tolist() for each in whole[2:8].chunk(3)]
    assert torch.equal(to_torch(join_tensors(parts)), whole[2:8])


@pytest.mark.parametrize("name", ["strange", "layers.x.norm", "layers.0.norm.more", "more.layers.0.norm"])
def test_a_name_that_the_map_does_not_have_is_an_error_that_names_it(state, name):
    with pytest.raises(CheckpointError, match=rf"transformers has no tensor .* to {name}\. Use format=safetensors"):
        KeyMap(RULES).to_transformers(from_torch({**state, name: torch.rand(1)}))
    with pytest.raises(CheckpointError, match=rf"AudioCraft has no tensor that corresponds to {name}\. Export again"):
        KeyMap(RULES).to_audiocraft(from_torch({name: torch.rand(1)}))


def test_a_part_that_is_missing_is_an_error_that_names_it(state):
    there = KeyMap(RULES).to_transformers(from_torch(state))
    del there["blocks.11.k"]
    with pytest.raises(CheckpointError, match="layers.11.in_proj cannot be restored: blocks.11.k is missing"):
        KeyMap(RULES).to_audiocraft(there)


def test_parts_of_split_and_joined_tensors_are_read_separately(make_xp):
    whole = torch.rand(300, 512)  # more than one chunk
    folder = make_xp(best_state={"model": {"layers.0.in_proj": whole}})
    checkpoint = open_checkpoint(folder / "checkpoint.th")
    tensors = ReleaseModel.from_checkpoint(checkpoint, "1.3.0", dtype="float16").weights.tensors
    there = KeyMap(RULES).to_transformers(tensors)
    assert same(there, {f"blocks.0.{name}": part for name, part in zip("qkv", whole.half().chunk(3))})
    back = KeyMap(RULES).to_audiocraft(there)["layers.0.in_proj"]
    halves = [to_torch(part).tolist() for part in split_tensor(back, 2)]
    assert halves == [each.tolist() for each in whole.half().chunk(2)]


@pytest.mark.parametrize("shape", [(), (7, 2)])
def test_a_tensor_that_cannot_be_split_equally_is_refused_by_name(shape):
    tensors = from_torch({"layers.0.in_proj_weight": torch.zeros(shape)})
    with pytest.raises(CheckpointError, match=r"layers\.0\.in_proj_weight .* 3 equal parts"):
        KeyMap({"layers.*.in_proj_weight": ("q.*", "k.*", "v.*")}).to_transformers(tensors)
