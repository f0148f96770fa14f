"""State dicts: names of tensors, views, tied tensors, and limits."""

import pytest
import torch
from helpers import SIG, load, model_state, same

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint import state_dict as module
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.checkpoint.state_dict import compact, map_tensors, named_tensors
from audiocraft_export.errors import CheckpointError


def released(make_xp, dora_dir, model):
    make_xp(best_state={"model": model})
    return load(export_xp(SIG, dora_dir).files[0])["best_state"]


def test_a_view_adds_its_own_bytes_and_not_those_of_its_storage(make_xp, dora_dir):
    small = released(make_xp, dora_dir, model_state(3))
    size = (dora_dir / "xps" / SIG / "export" / "state_dict.bin").stat().st_size
    view = torch.arange(10_000.0)[5_000:5_002]
    state = released(make_xp, dora_dir, {**model_state(3), "view": view})
    assert same(state, {**small, "view": view})
    assert (dora_dir / "xps" / SIG / "export" / "state_dict.bin").stat().st_size - size < 600


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_an_integer_that_torch_does_not_read_is_refused(make_xp, dora_dir, format):
    make_xp(best_state={"model": {**model_state(3), "steps": 1 << 3000}})
    with pytest.raises(CheckpointError, match="Unsupported integer of 3001 bits"):
        export_xp(SIG, dora_dir, format=format)


VIEWS = {
    "transposed": lambda x: x.t(), "sliced": lambda x: x[:, 1:3], "strided": lambda x: x[::2], "row": lambda x: x[1],
    "expanded": lambda x: x[:1].expand(7, 6), "scalar": lambda x: x[2, 3], "flat": lambda x: x.flatten(),
    "empty": lambda x: x[:0], "diagonal": lambda x: x.diagonal(), "channels_last": lambda x: x.view(1, 2, 3, 6).to(
        memory_format=torch.channels_last), "overlapping": lambda x: x.flatten().unfold(0, 4, 1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("view", VIEWS)
def test_every_kind_of_view_is_released_contiguous_and_compact(make_xp, dora_dir, view, dtype):
    tensor = VIEWS[view](torch.arange(36.0).view(6, 6).to(dtype))
    state = released(make_xp, dora_dir, {"w": tensor})
    assert same(state, {"w": tensor})
    assert state["w"].is_contiguous()
    assert state["w"].untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_lazily_conjugated_and_negated_tensors_are_released_with_their_values(make_xp, dora_dir):
    z = torch.tensor([1 + 2j, 3 - 4j])
    best = {"conj": z.conj(), "neg": z.clone().conj().imag}
    state = released(make_xp, dora_dir, best)
    assert same(state, {name: value.resolve_conj().resolve_neg() for name, value in best.items()})


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_tied_weights_stay_tied(make_xp, dora_dir, dtype):
    base = torch.randn(8, 4)
    best = {"emb": base, "head": base, "flat": base.view(-1), "other": base.clone(),
            "part": base[:2], "part2": base[:2], "turned": base.t(), "turned2": base.t()}
    make_xp(best_state={"model": best})
    report = export_xp(SIG, dora_dir, ExportOptions(dtype=dtype))
    state = load(report.files[0])["best_state"]
    where = {name: value.data_ptr() for name, value in state.items()}
    assert where["emb"] == where["head"] == where["flat"] != where["other"]
    assert where["part"] == where["part2"] and where["turned"] == where["turned2"]
    assert report.manifest.parameters == 32 + 32 + 8 + 32


def test_contiguous_tensors_are_compacted_without_reading_them(make_xp):
    state = open_checkpoint(make_xp() / "checkpoint.th").state["best_state"]
    compacted = named_tensors(compact(state, "best_state"))
    assert {name: tensor.blob for name, tensor in compacted.items()} \
        == {name: tensor.own_bytes for name, tensor in named_tensors(state).items()}


def test_tensors_that_claim_far_more_than_is_stored_are_refused(make_xp, monkeypatch):
    monkeypatch.setattr(module, "MAX_REPEATED_BYTES", 100)
    folder = make_xp(best_state={"model": {"w": torch.ones(1).expand(100)}})
    with pytest.raises(CheckpointError, match="views in best_state: .* need 400 B, but only 4 B are stored") as error:
        compact(open_checkpoint(folder / "checkpoint.th").state["best_state"], "best_state")
    assert error.value.code == "expanded-tensors"


@pytest.mark.parametrize(("name", "state"), [
    ("MAX_VALUES", {"a": 1, "b": 2}), ("MAX_TEXT", {"a": "bc"}), ("MAX_TENSOR_NAME", {"abc": 1})])
def test_a_state_dict_of_more_than_any_model_has_is_refused(monkeypatch, name, state):
    monkeypatch.setattr(module, name, 2)
    with pytest.raises(CheckpointError, match="exceed the limits|Unsupported key"):
        compact(state, "model")


@pytest.mark.parametrize("depth", [None, 100_000])
def test_a_state_dict_that_contains_itself_or_is_nested_deeply_is_refused(depth):
    state = {}
    if depth is None:
        state["a"] = [state]
    for _ in range(depth or 0):
        state = {"a": state}
    with pytest.raises(CheckpointError, match="contain themselves, or are nested too deeply|exceed the limits"):
        named_tensors(state)


def test_the_result_of_a_function_takes_the_place_of_each_tensor_and_plain_data_stays(make_xp):
    state = {"a": [1, ("b", None)], "c": open_checkpoint(make_xp() / "checkpoint.th").state["best_state"]}
    names = [f"c.model.{name}" for name in model_state(3)]
    copied = map_tensors(lambda name, tensor: name, state)
    assert copied == {"a": [1, ("b", None)], "c": {"model": dict(zip(model_state(3), names))}}
    assert [*named_tensors(state)] == names and copied["a"] is not state["a"]
