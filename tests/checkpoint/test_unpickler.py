"""Unusual and hostile pickles are read without running code, or refused."""

import enum
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from helpers import NEW_DTYPES, SIG, load, model_state, same

from audiocraft_export import ExportError, export_checkpoint, export_xp
from audiocraft_export.checkpoint.unpickler import unpickle
from audiocraft_export.storage.lazy_bytes import LazyBytes


class Kind(enum.Enum):
    A = 1


def rewritten(source, target, change):
    """Replace the pickle of a checkpoint."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(zipfile.ZipInfo(info.filename), change(data) if info.filename.endswith("data.pkl") else data)


STATE = b"(N}(X\x0c\x00\x00\x00__defaults__(NN}(X\x03\x00\x00\x00neg\x88utX\x05\x00\x00\x00dtypeX\x04\x00\x00\x00boolut"


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n" \
         b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x14tQK\x00K\x01\x85K\x01\x85\x89}tR"


@pytest.mark.parametrize("victim", [
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nFloatStorage\n",
    b"ctyping\nAny\n", b"ctorch\nTensor\n", b"ccollections\nOrderedDict\n", b"comegaconf.nodes\nAnyNode\n",
    b"cargparse\nNamespace\n", b"cbuiltins\ndict\n", b"ctorch\nSize\n", b"c_codecs\nencode\n", TENSOR, b"cx\ny\n"])
def test_a_checkpoint_cannot_change_how_others_are_read(make_xp, dora_dir, tmp_path, victim):
    folder = make_xp()
    begin = b"\x80\x02" + victim + STATE + b"b0"
    rewritten(folder / "checkpoint.th", tmp_path / "bad.th", lambda data: begin + data[2:])
    try:
        export_checkpoint(tmp_path / "bad.th", tmp_path / "bad")
    except ExportError as exc:
        assert "\n" not in str(exc)
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], model_state(3))


@pytest.mark.parametrize("attribute", ["shape", "offset", "dtype", "blob"])
def test_a_pickle_cannot_change_a_tensor_after_it_was_checked(make_xp, tmp_path, attribute):
    name = attribute.encode()
    state = b"}(X" + len(name).to_bytes(4, "little") + name + b"K\x7fub0"
    rewritten(make_xp() / "checkpoint.th", tmp_path / "bad.th", lambda data: b"\x80\x02" + TENSOR + state + data[2:])
    with pytest.raises(ExportError, match="change of tensor"):
        export_checkpoint(tmp_path / "bad.th", tmp_path / "bad")


@pytest.mark.parametrize("make", [
    lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), lambda: torch.ones(3).to_sparse(),
    lambda: torch.device("cpu"), lambda: torch.float32, lambda: torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 1),
    lambda: [torch.zeros(2).view(getattr(torch, name)) for name in NEW_DTYPES], lambda: {1, 2}, lambda: Kind.A,
    lambda: Path("/a"), lambda: b"bytes", lambda: torch.Size([2])])
def test_unusual_objects_outside_the_weights_do_not_prevent_an_export(make_xp, dora_dir, make):
    make_xp(optimizer={"state": make()}, unknown=[make()])
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], model_state(3))


class Frozen(dict):
    """A dict that is pickled as a copy of another dict."""

    def __reduce__(self):
        return dict, (dict(self),)


def test_a_dict_made_of_another_keeps_its_items(make_xp, dora_dir):
    make_xp(best_state={"model": {"enc": Frozen(w=torch.ones(2)), "dec": {"w": torch.zeros(1)}}})
    state = load(export_xp(SIG, dora_dir).files[0])["best_state"]
    assert same(state["enc"], {"w": torch.ones(2)}) and same(state["dec"], {"w": torch.zeros(1)})
    make_xp(**{"xp.cfg": {"solver": "mine", "fsdp": Frozen(use=True)}})
    with pytest.raises(ExportError, match="FSDP"):
        export_xp(SIG, dora_dir)


def test_a_long_history_of_scalars_and_many_parameters_are_read(make_xp, dora_dir):
    import numpy as np
    make_xp(history=[{"valid": {f"metric{i}": np.float64(i + epoch) for i in range(30)}} for epoch in range(2000)],
            optimizer={"state": {i: {"step": torch.tensor(1.0)} for i in range(5000)}})
    assert export_xp(SIG, dora_dir).manifest.epoch == 2000


class WithStorages(pickle.Pickler):
    """Pickle tuples that begin with `storage` as persistent IDs."""

    def persistent_id(self, value):
        return value if isinstance(value, tuple) and value[:1] == ("storage",) else None


class Rebuilt:
    """A call of a torch function with arguments."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.args


def unpickled(value):
    stream = io.BytesIO()
    WithStorages(stream, 2).dump(value)
    return unpickle(stream.getvalue(), lambda key: LazyBytes.from_data(bytes(8)), "x.th")[0]


def storage(kind, count):
    return "storage", kind, "0", "cpu", count


def tensor(kind, *metadata):
    return Rebuilt(storage(kind, 8 // kind().element_size()), 0, (1,), (1,), False, OrderedDict(), *metadata)


def test_a_storage_has_one_dtype():
    assert unpickled([storage(torch.FloatStorage, 2)] * 2)
    with pytest.raises(ExportError, match="storage 0 with two dtypes"):
        unpickled([storage(torch.FloatStorage, 2), storage(torch.IntStorage, 2)])


def test_a_storage_that_torch_gives_no_bytes_is_refused():
    with pytest.raises(ExportError, match="persistent id that is not a storage"):
        unpickled(("storage", torch.FloatStorage, "0", "meta", 2))


@pytest.mark.parametrize("metadata", [{"conj": True}, {"neg": False}, {"neg": 1}, {"neg": "x"}, [1], "neg"])
def test_metadata_that_torch_takes_otherwise_is_refused(metadata):
    with pytest.raises(ExportError, match="tensor with invalid metadata"):
        unpickled(tensor(torch.FloatStorage, metadata))


@pytest.mark.parametrize("kind", [torch.BoolStorage, torch.ByteStorage, torch.LongStorage])
def test_lazy_negation_of_dtypes_without_it_is_refused(kind):
    with pytest.raises(ExportError, match="tensor with invalid metadata"):
        unpickled(tensor(kind, {"neg": True}))


def test_metadata_of_torch_is_kept():
    assert unpickled(tensor(torch.FloatStorage, {"neg": True})).neg
    assert unpickled(tensor(torch.ComplexFloatStorage, {"conj": True})).conj
    assert not unpickled(tensor(torch.FloatStorage, {})).neg and not unpickled(tensor(torch.FloatStorage)).neg


@pytest.mark.parametrize(("attributes", "is_refused"), [
    ({"data": 0}, True), ({"real": 0}, True), ((None, {"imag": 0}), True), ({"_is_flat": True}, False), (None, False)])
def test_an_attribute_by_which_torch_gives_a_tensor_other_values_is_refused(attributes, is_refused):
    class Tensor:
        def __reduce__(self):
            function, args = tensor(torch.FloatStorage).__reduce__()
            return torch._tensor._rebuild_from_type_v2, (function, torch.Tensor, args, attributes)

    class Parameter:
        def __reduce__(self):
            return torch._utils._rebuild_parameter_with_state, (tensor(torch.FloatStorage), False, None, attributes)
    for made in (Tensor(), Parameter()):
        if is_refused:
            with pytest.raises(ExportError, match="tensor attribute that replaces its values"):
                unpickled(made)
        else:
            assert unpickled(made).shape == (1,)


@pytest.mark.parametrize("name", [b"collections\nOrderedDict", b"__builtin__\ndict", b"collections\ndefaultdict"])
def test_unexpected_arguments_of_a_class_are_refused(name):
    made = b"\x80\x02c" + name + b"\n%s\x81."
    assert unpickle(made % b")", None, "x.th")[0] == {}
    with pytest.raises(ExportError, match="with unexpected arguments"):
        unpickle(made % b"(](X\x01\0\0\0aK\x01\x86et", None, "x.th")
