"""Convert numpy scalars to Python numbers, anywhere in a checkpoint or in a running solver."""

import json
import math
import pickle

import numpy as np
import pytest
import torch
from helpers import SIG, load

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint.allowlist import UnknownGlobal
from audiocraft_export.checkpoint.numpy_scalars import plain_numbers, to_number
from audiocraft_export.checkpoint.unpickler import unpickle
from audiocraft_export.errors import CheckpointError

SCALARS = [np.bool_(True), np.bool_(False), np.int8(-3), np.int16(-300), np.int32(7), np.int64(-1 << 60), np.uint8(255),
           np.uint16(9), np.uint32(1 << 31), np.uint64(1 << 63), np.float16(0.1), np.float32(0.1), np.float64(0.1),
           np.float64("inf"), np.longdouble(0.1), np.longdouble(-3), np.longdouble("-inf"), np.longlong(5)]


def read(data):
    return unpickle(data, lambda key: None, "here")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: f"{type(scalar).__name__}-{scalar}")
def test_a_scalar_of_numpy_is_a_number(scalar, module, protocol):
    data = pickle.dumps([scalar, scalar], protocol)
    if protocol < 4:
        data = data.replace(b"numpy._core.multiarray", module).replace(b"numpy.core.multiarray", module)
    value, unknown = read(data)
    expected = to_number(scalar)
    assert value == [expected] * 2 and type(value[0]) is type(expected) and not unknown
    assert type(expected) in (bool, int, float)


def test_nan_and_byte_orders():
    assert math.isnan(read(pickle.dumps(np.float32("nan"), 2))[0])
    assert math.isnan(read(pickle.dumps(np.longdouble("nan"), 2))[0])
    data = pickle.dumps(np.float32(2.0), 2).replace(b"X\1\0\0\0<", b"X\1\0\0\0>")
    assert read(data)[0] == np.frombuffer(np.float32(2.0).tobytes(), ">f4")[0]


@pytest.mark.parametrize("value", [np.complex64(1j), np.str_("a"), np.datetime64("2024-01-01"), np.void(b"ab"),
                                   np.zeros(1, [("a", "f8")])[0]])
def test_other_scalars_stay_inert_and_are_named(value):
    found, unknown = read(pickle.dumps(value, 2))
    assert isinstance(found, UnknownGlobal) and any("numpy" in name for name in unknown)


def scalar_of(code, data, state=b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"):
    text = b"X" + len(code).to_bytes(4, "little") + code
    return (b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + text + b"\x89\x88\x87R" + state
            + b"C" + bytes([len(data)]) + data + b"\x86R.")


@pytest.mark.parametrize(("code", "data"), [(b"f8", b"1234567"), (b"f8", b""), (b"b1", b"12"), (b"f16", b"1" * 12)])
def test_another_number_of_bytes_is_refused(code, data):
    with pytest.raises(CheckpointError, match="wrong number of bytes for dtype"):
        read(scalar_of(code, data))


@pytest.mark.parametrize("code", [b"O", b"f8,(100000,100000)f8", b"99999999f8", b"", b"M8",
                                  b"__import__('os').system('id')"])
def test_a_hostile_dtype_is_unknown(code):
    found, unknown = read(scalar_of(code, b"12345678"))
    assert isinstance(found, UnknownGlobal) and len(unknown) == 1 and unknown[0].startswith("numpy.dtype")


@pytest.mark.parametrize("data", [
    b"\x80\x02cnumpy.core.multiarray\nscalar\nK\x01C\x01a\x86R.", b"\x80\x02cnumpy.core.multiarray\nscalar\n)R.",
    scalar_of(b"f8", b"12345678", b"N" + b"b"), b"\x80\x02cnumpy.core.multiarray\nscalar\n(]]tR.",
    scalar_of(b"f8", b"12345678", b"(K\x03X\x01\0\0\0<tb(K\x03X\x01\0\0\0>tb")])
def test_lookalikes_of_scalars_are_refused(data):
    with pytest.raises(CheckpointError, match="no code in it was run"):
        read(data)


def test_a_long_double_that_may_be_of_another_machine_is_unknown():
    quad = bytes(14) + b"\xff\x3f"  # bytes of 1.0 on aarch64
    assert isinstance(read(scalar_of(b"f16", quad))[0], UnknownGlobal)


def test_the_metrics_of_numpy_are_in_the_manifest_and_in_the_card(make_xp, dora_dir):
    history = [{"train": {"ce": np.float32(3)}, "valid": {"ce": np.mean([2.0, 1.0]), "pesq": np.float16(2.5)}}]
    make_xp(history=history)
    report = export_xp(SIG, dora_dir, ExportOptions(card=True, metric="ce"))
    assert json.loads(report.manifest.text)["best"]["valid"] == {"ce": 1.5, "pesq": 2.5}
    assert not any("numpy" in text for text in report.manifest.warnings)
    assert "1.5" in (report.folder / "README.md").read_text()


def test_extra_state_of_numpy_is_released_as_numbers(make_xp, dora_dir):
    extra = {"steps": np.int64(3), "scale": np.float32(0.5), "on": np.bool_(1)}
    make_xp(best_state={"model": {"w": torch.ones(2), "norm._extra_state": extra}})
    extra = load(export_xp(SIG, dora_dir).files[0])["best_state"]["norm._extra_state"]
    assert extra == {"steps": 3, "scale": 0.5, "on": True} and [*map(type, extra.values())] == [int, float, bool]


def test_numbers_in_memory_become_plain():
    metrics = {"a": np.float32(0.5), "n": np.int64(2), "b": np.bool_(0), "t": (1, np.uint8(3))}
    assert repr(plain_numbers([{"valid": metrics}])) == "[{'valid': {'a': 0.5, 'n': 2, 'b': False, 't': [1, 3]}}]"
    assert to_number(np.complex64(1)) == np.complex64(1) and to_number("x") == "x"
