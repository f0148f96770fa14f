"""Cast tensors of torch in chunks; unsupported and non-contiguous tensors; tensors of a running solver."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import NEW_DTYPES, SIG, load, same, solver_state
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp, verify
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_a_cast_of_a_chunk_starts_no_threads_of_torch():
    """On a busy machine, waiting for these threads took five times as long as the cast."""
    code = ("import os, torch; from audiocraft_export.checkpoint.torch_tensors import cast_chunks, from_torch; "
            "torch.set_num_threads(2); tensor = torch.frombuffer(bytearray(1 << 19), dtype=torch.float32); "
            "before = len(os.listdir('/proc/self/task')); "
            "size = sum(map(len, cast_chunks('w', from_torch({'w': tensor})['w'], 'float16'))); "
            "print(size, len(os.listdir('/proc/self/task')) - before)")
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == f"{1 << 18} 0\n"


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


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2)])
def test_an_empty_tensor_comes_back_empty(shape):
    empty = torch.empty(shape, dtype=torch.float16)
    assert to_torch(from_torch({"w": empty})["w"]).equal(empty)


def test_a_value_beyond_the_range_of_the_new_dtype_is_refused():
    tensor, = from_torch({"w": torch.tensor([1.0, 1e6])}).values()
    cast = torch.tensor([1.0, 1e6]).bfloat16().view(torch.uint8)
    assert b"".join(cast_chunks("w", tensor, "bfloat16")) == cast.numpy().tobytes()
    with pytest.raises(CheckpointError, match="The tensor w has values beyond the range of float16") as info:
        list(cast_chunks("w", tensor, "float16"))
    assert (info.value.code, info.value.hint) == ("dtype-overflow", "use dtype=bfloat16, or omit dtype to keep the "
                                                  "stored one")
    tensor, = from_torch({"w": torch.tensor([1e300], dtype=torch.float64)}).values()
    with pytest.raises(CheckpointError, match="The tensor w has values beyond the range of bfloat16") as info:
        list(cast_chunks("w", tensor, "bfloat16"))
    assert info.value.hint == "omit dtype to keep the stored one"


def test_a_storage_with_two_dtypes_in_a_running_solver_is_exported_with_both(tmp_path):
    from audiocraft_export.pipeline.export import export_state

    class Source:
        def __init__(self, state):
            self.state_dict = lambda: state

    weight, z = torch.arange(4.0), torch.tensor([1 + 2j])
    state = {"w": weight, "i": weight.view(torch.int32), "z": z, "r": torch.view_as_real(z)}
    sources = {"best_state": Source({"model": state}), "history": Source([])}
    report = export_state(sources, OmegaConf.create({"a": 1}), SIG, tmp_path)
    assert same(load(report.files[0])["best_state"], state) and verify(report.folder).ok


def test_the_state_of_a_running_solver_makes_the_same_file_as_its_checkpoint(make_xp, tmp_path):
    from audiocraft_export.pipeline.export import export_state
    state = {"w": torch.ones(3), "none": torch.empty(0, 3), "nothing": torch.empty(0), "betas": [(0.9, [0.99])]}
    sources = {"best_state": SimpleNamespace(state_dict=lambda: {"model": state})}
    xp = make_xp(best_state={"model": state})
    stored = export_checkpoint(xp / "checkpoint.th", tmp_path / "stored")
    made = export_state(sources, solver_state()["xp.cfg"], SIG, tmp_path / "made")
    assert made.files[0].read_bytes() == stored.files[0].read_bytes()


def test_a_section_is_asked_for_when_it_is_read_and_its_tensors_are_described():
    asked = []

    class Source:
        def state_dict(self):
            asked.append("model")
            return {"w": torch.arange(3.0, requires_grad=True), "steps": (1, 2)}

    state = SolverState({"model": Source()})
    assert list(state) == ["model"] and len(state) == 1 and "model" in state and "ema" not in state and not asked
    section = state["model"]
    assert asked == ["model"] and section["steps"] == (1, 2) and to_torch(section["w"]).tolist() == [0, 1, 2]


class Wrapping(torch.Tensor):
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("this class has no such operation")


def endless():
    state = {}
    state["again"] = [state]
    return state


PLAIN_ADVICE = "has no plain bytes. Keep it out of the model's state"
UNSUPPORTED = {
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), r"is nested\. Store its parts"),
    "jagged": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "is nested"),
    "lazy": (lambda: torch.nn.LazyLinear(3).weight, r"is not initialized\. Run the model once"),
    "lazy buffer": (lambda: torch.nn.LazyBatchNorm1d().running_mean, "is not initialized"),
    "sparse": (lambda: torch.ones(2, 2).to_sparse(), PLAIN_ADVICE),
    "meta": (lambda: torch.ones(2, device="meta"), "meta"),
    "csr": (lambda: torch.ones(2, 2).to_sparse_csr(), PLAIN_ADVICE),
    "quantized": (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "qint8"),
    "wrapping": (lambda: torch.Tensor._make_wrapper_subclass(Wrapping, (3,)), r"\(Wrapping\) has no storage in memory"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_a_tensor_of_a_running_solver_without_plain_bytes_is_refused_by_name(kind):
    make, says = UNSUPPORTED[kind]
    if kind == "jagged" and not hasattr(torch, "jagged"):
        pytest.skip("this torch has no jagged tensors")
    with pytest.raises(CheckpointError, match=rf"The tensor model\.deep\.1\.w of the solver .*{says}") as info:
        SolverState({"model": StateOf({"deep": [1, {"w": make()}]})})["model"]
    assert info.value.code == "unsupported-weights"


def test_a_tensor_whose_memory_was_freed_is_refused():
    tensor = torch.ones(8)
    tensor.untyped_storage().resize_(0)  # as in FSDP modules
    with pytest.raises(CheckpointError, match="has no storage in memory"):
        SolverState({"model": StateOf({"w": tensor})})["model"]


def test_a_state_of_a_running_solver_that_contains_itself_is_refused():
    with pytest.raises(CheckpointError, match="^best_state of the solver contains itself"):
        SolverState({"best_state": StateOf(endless())})["best_state"]


class StateOf:
    def __init__(self, state):
        self.state_dict = lambda: state


CANNOT_SAVE_NESTED = pytest.mark.skipif(torch.__version__.startswith("2.1."), reason="torch 2.1 cannot save one")


@pytest.mark.parametrize("make", [
    lambda: torch.nn.LazyLinear(3).state_dict(), lambda: {"w": torch.ones(2, 2).to_sparse()},
    pytest.param(lambda: {"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, marks=CANNOT_SAVE_NESTED)])
@pytest.mark.filterwarnings("ignore")
def test_a_file_with_such_tensors_is_refused_in_one_sentence(make_xp, dora_dir, make):
    make_xp(best_state={"model": make()})
    with pytest.raises(CheckpointError, match="Unsupported value in the weights: .* at '(w|weight)'"):
        export_xp(SIG, dora_dir)


@pytest.fixture
def two_ranks():
    """Create a process group of two, in which this process is rank zero, without communication."""
    try:
        from torch.distributed import tensor as distributed
        distributed.DTensor  # noqa: B018  # before torch 2.5 the module is another one
    except (ImportError, AttributeError):
        distributed = pytest.importorskip("torch.distributed._tensor")
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    torch.distributed.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=2)
    try:
        yield distributed, distributed.DeviceMesh("cpu", [0, 1])
    finally:
        torch.distributed.destroy_process_group()


def test_a_shard_of_fsdp2_is_refused_and_a_replica_is_released(two_ranks, make_xp, dora_dir):
    distributed, mesh = two_ranks
    local = torch.arange(4.0, requires_grad=True)
    shard = distributed.DTensor.from_local(local, mesh, [distributed.Shard(0)], run_check=False)
    with pytest.raises(CheckpointError, match=r"tensor model\.w of the solver is a shard\. Gather it on all ranks"):
        SolverState({"model": StateOf({"w": shard})})["model"]
    replica = distributed.DTensor.from_local(local, mesh, [distributed.Replicate()], run_check=False)
    assert to_torch(SolverState({"model": StateOf({"w": replica})})["model"]["w"]).equal(local.detach())
    make_xp(best_state={"model": {"w": shard}})
    with pytest.raises(CheckpointError, match=r"torch\.distributed\.\S*DTensor at 'w'.*\. Gather it on all ranks"):
        export_xp(SIG, dora_dir)
