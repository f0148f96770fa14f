"""Flatten nested content into named tensors, and restore it."""

import pytest
import torch
from helpers import load, same

from audiocraft_export import ExportError, ExportOptions
from audiocraft_export.checkpoint.torch_tensors import from_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.safetensors.flatten import Flattened, unflatten
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.verification.release import verify

from .releases import OPTIONS, digests, exported, fitting, opened

STRANGE = {
    "float": [1.5, float("nan"), float("-inf"), -0.0], "bytes": b"\0\xff", "big": 1 << 200, "tuple": (1, ("a",)),
    "none": None, "yes": True, "text": "\ud800 ${oc.env:USER} \n", "$tensor": {"$x": 1}, 7: {True: 2, -1: 3},
}


def test_tied_weights_are_stored_once_and_come_back_tied(make_xp, dora_dir):
    weight = torch.randn(4, 4)
    state = {"a": weight, "b": weight, "c": weight.view(2, 8), "d": weight.clone()}
    folder = exported(make_xp, dora_dir, best_state={"model": state})
    assert {*opened(folder / "model.safetensors")[0]} == {"a", "d"} and verify(folder).ok
    convert(folder, "audiocraft")
    back = load(folder / "state_dict.bin")["best_state"]
    assert same(back, state) and len({back[name].data_ptr() for name in "abc"}) == 1


@pytest.mark.parametrize("size", [1, "2KB", "5GB"])
@pytest.mark.parametrize("state", [
    {"b.weight": torch.ones(3), "a.weight": torch.zeros(600), "n": torch.tensor(3), "flag": torch.tensor([True])},
    {"model": {"x": torch.ones(2)}, "layers": [{"y": torch.ones(3)}, (torch.zeros(0, 3), 5)]},
    {"weights": torch.ones(2), "extra_state": STRANGE},
], ids=["flat", "nested", "strange"])
def test_the_file_for_audiocraft_comes_back_byte_for_byte(make_xp, dora_dir, tmp_path, state, size):
    folder = exported(make_xp, dora_dir, ExportOptions(), best_state={"model": {"only": state}})
    before = digests(folder)
    convert(folder, "safetensors", max_shard_size=size)
    assert not (folder / "state_dict.bin").exists() and verify(folder).ok
    direct = exported(make_xp, dora_dir, OPTIONS.replace(folder=tmp_path / "direct", max_shard_size=size),
                      best_state={"model": {"only": state}})
    assert digests(direct).items() - digests(folder).items() <= {("export.json", digests(direct)["export.json"])}
    convert(folder, "audiocraft")
    assert digests(folder) == before


def test_two_tensors_of_one_name_are_refused_and_none_is_dropped():
    weights = from_torch({"b": torch.ones(2), "a.b": torch.zeros(2)})
    with pytest.raises(ExportError, match=r"have the same name in a safetensors file: 'a.b'"):
        Flattened({"a": {"b": weights["b"]}, "a.b": weights["a.b"]}, {})


def test_nested_data_is_restored_and_too_deep_nesting_is_refused(make_xp, dora_dir, tmp_path):
    def nested(floors):
        value = torch.ones(2)
        for floor in range(floors):
            value = (value,) if floor % 2 else {"k": value}
        return {"model": {"w": torch.zeros(3), "x": value}}
    folder = exported(make_xp, dora_dir, ExportOptions(), best_state=nested(60))
    before = digests(folder)
    convert(folder, "safetensors", tmp_path / "there")
    convert(tmp_path / "there", "audiocraft")
    assert digests(tmp_path / "there") == before
    with pytest.raises(ExportError, match="nested more than 64 levels deep"):
        exported(make_xp, dora_dir, best_state=nested(70))


@pytest.mark.parametrize("more", [{"version": "\ud800"}, {"xp.cfg": "a: '\ud800'\n"}, {"big": 1 << 20_000}],
                         ids=["version", "configuration", "number"])
def test_texts_and_numbers_that_safetensors_cannot_hold_are_refused_in_a_sentence(make_xp, dora_dir, tmp_path, more):
    folder = exported(make_xp, dora_dir, ExportOptions())
    torch.save({**load(folder / "state_dict.bin"), **more}, folder / "state_dict.bin")
    fitting(folder)
    with pytest.raises(ExportError, match="UTF-8|xp.cfg: invalid configuration|big: unexpected key"):
        convert(folder, "safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_flat_content_is_named_without_the_one_key_above_it_and_nests_again():
    weights = from_torch({"a": torch.ones(2), "b": torch.zeros(3)})
    content = {"best_state": {**weights, 1: (b"x", float("-inf"))}, "xp.cfg": "lr: 1"}
    flat = Flattened(content, {"config.yaml": "lr: 1"})
    assert flat.tensors == weights and "lr: 1" not in flat.text
    assert unflatten(flat.text, flat.tensors, {"config.yaml": "lr: 1"}) == content
    with pytest.raises(CheckpointError, match="unreferenced tensors: more"):
        unflatten(flat.text, {**flat.tensors, "more": weights["a"]}, {"config.yaml": "lr: 1"})


def test_a_number_of_too_many_digits_is_refused_in_a_sentence():
    with pytest.raises(CheckpointError, match="cannot be written as JSON"):
        Flattened({"big": 1 << 20_000}, {})
