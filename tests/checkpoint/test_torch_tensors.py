"""Tensors of torch: casts in chunks, those that are not plain or not contiguous, those of a living solver."""

import pytest
import torch
from helpers import NEW_DTYPES, SIG, load, same
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.checkpoint.torch_tensors import SolverState, cast_chunks, from_torch, to_torch
from audiocraft_export.errors import CheckpointError


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("stored", [torch.float32, torch.float64, torch.bfloat16])
def test_a_cast_in_pieces_is_the_cast_of_the_whole(make_xp, dora_dir, stored, dtype):
    whole = torch.randn(300_001).to(stored)
    tensors = {"w": whole, "t": whole[:90_000].view(300, 300).t(), "part": whole[7:200_000]}
    make_xp(best_state={"model": tensors})
    found = load(export_xp(SIG, dora_dir, ExportOptions(dtype=dtype)).files[0])["best_state"]
    assert all(found[name].equal(tensor.to(getattr(torch, dtype))) for name, tensor in tensors.items())


@pytest.mark.parametrize("size", [1, 100_003], ids=["one", "many"])
def test_a_cast_gives_nan_the_same_bits_on_every_processor(make_xp, dora_dir, size):
    make_xp(best_state={"model": {"w": torch.full((size,), torch.nan)}})
    found = load(export_xp(SIG, dora_dir, ExportOptions(dtype="bfloat16")).files[0])["best_state"]["w"]
    assert found.view(torch.int16).eq(0x7FC0).all()


def test_a_quantized_weight_is_refused_by_name(make_xp, dora_dir):
    make_xp(best_state={"model": {"q": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}})
    with pytest.raises(ExportError, match="'q'"):
        export_xp(SIG, dora_dir)


def test_small_dtypes_are_released_when_they_are_not_contiguous(make_xp, dora_dir):
    dtype = torch.float8_e4m3fn if "float8_e4m3fn" in NEW_DTYPES else torch.bfloat16
    best = {"t": torch.arange(6.0).view(2, 3).to(dtype).t()}
    make_xp(best_state={"model": best})
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], best)


def test_tensors_in_memory_share_their_storage_and_come_back():
    whole = torch.arange(6.0)
    tensors = from_torch({"whole": whole, "part": whole[2:5]})
    assert tensors["whole"].blob is tensors["part"].blob
    assert to_torch(tensors["whole"]).equal(whole) and to_torch(tensors["part"]).equal(whole[2:5])


def test_a_value_beyond_the_range_of_the_new_dtype_is_refused():
    tensor, = from_torch({"w": torch.tensor([1.0, 1e6])}).values()
    assert b"".join(cast_chunks(tensor, "bfloat16")) == torch.tensor([1.0, 1e6]).bfloat16().view(torch.uint8).numpy(
        ).tobytes()
    with pytest.raises(CheckpointError, match="beyond the range of float16"):
        list(cast_chunks(tensor, "float16"))


def test_one_storage_of_two_dtypes_in_a_living_solver_gives_both_as_they_are(tmp_path):
    from audiocraft_export.pipeline.export import export_state

    class Source:
        def __init__(self, state):
            self.state_dict = lambda: state

    weight, z = torch.arange(4.0), torch.tensor([1 + 2j])
    state = {"w": weight, "i": weight.view(torch.int32), "z": z, "r": torch.view_as_real(z)}
    sources = {"best_state": Source({"model": state}), "history": Source([])}
    report = export_state(sources, OmegaConf.create({"a": 1}), SIG, tmp_path)
    assert same(load(report.files[0])["best_state"], state)


def test_a_section_is_asked_for_when_it_is_read_and_its_tensors_are_described():
    asked = []

    class Source:
        def state_dict(self):
            asked.append("model")
            return {"w": torch.arange(3.0, requires_grad=True), "steps": (1, 2)}

    state = SolverState({"model": Source()})
    assert list(state) == ["model"] and len(state) == 1 and not asked
    section = state["model"]
    assert asked == ["model"] and section["steps"] == [1, 2] and to_torch(section["w"]).tolist() == [0, 1, 2]
