"""Count NaN and infinite values while they are exported."""

import json

import pytest
import torch
from helpers import NEW_DTYPES, SIG

from audiocraft_export import export_checkpoint, export_lm, export_xp, verify
from audiocraft_export.checkpoint.nonfinite import NonfiniteCounter, nonfinite
from audiocraft_export.storage.lazy_bytes import LazyBytes


def test_nonfinite_values_are_exported_counted_and_warned_about(make_xp, dora_dir, caplog, tmp_path):
    best = {"w": torch.tensor([1.0, float("nan"), float("inf"), -float("inf")]), "ok": torch.full((3,), 3.4e38),
            "half": torch.tensor([float("nan"), 65504.0]).half(), "brain": torch.tensor([-float("inf"), 1]).bfloat16(),
            "double": torch.tensor([float("nan"), 1e300], dtype=torch.float64), "n": torch.tensor([-1]),
            "z": torch.tensor([complex(float("nan"), 1)])}
    xp = make_xp(best_state={"model": best})
    report = export_xp(SIG, dora_dir)
    assert report.manifest.nonfinite == {"state_dict.bin": {
        "best_state.w": 3, "best_state.half": 1, "best_state.brain": 1, "best_state.double": 1, "best_state.z": 1}}
    assert json.loads((report.folder / "export.json").read_text())["nonfinite"] == report.manifest.nonfinite
    assert "7 NaN or infinite values" in report.manifest.warnings[-1] and "best_state.w" in caplog.text
    assert verify(report.folder).ok
    caplog.clear()
    export_lm(xp / "checkpoint.th", tmp_path / "lm.bin")
    assert "7 NaN or infinite values" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_nan_and_infinity_is_counted_and_no_other_number(make_xp, tmp_path, dtype):
    torch.manual_seed(0)
    size = 3 << 19 if dtype is torch.float32 else 70_001
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[torch.finfo(dtype).bits // 8]
    limits = torch.iinfo(kind)
    numbers = torch.randint(limits.min, limits.max, (size,), dtype=kind).view(dtype)
    expected = int((~numbers.isfinite()).sum())
    xp = make_xp(best_state={"model": {"w": numbers, "part": numbers[1:7001]}})
    report = export_checkpoint(xp / "checkpoint.th", tmp_path / "out")
    assert report.manifest.nonfinite["state_dict.bin"]["best_state.w"] == expected > 0


def test_values_are_counted_while_their_bytes_are_read():
    data = torch.tensor([1.0, float("nan"), -float("inf"), 2.0]).numpy().tobytes()
    assert nonfinite(data, "float32") == 2 and nonfinite(data, "int32") == nonfinite(b"", "float32") == 0
    counter = NonfiniteCounter(LazyBytes.from_data(data), "float32")
    assert counter.count == 0 and b"".join(counter.blob.iter_chunks()) == data and counter.count == 2


@pytest.mark.parametrize("dtype", [name for name in NEW_DTYPES + ["float8_e5m2", "float8_e4m3fn"]
                                   if name.startswith("float8") and hasattr(torch, name)])
def test_of_all_values_of_eight_bits_those_are_counted_that_torch_calls_not_finite(dtype):
    values = torch.arange(256).to(torch.uint8)
    expected = int((~values.view(getattr(torch, dtype)).float().isfinite()).sum())
    assert nonfinite(values.numpy().tobytes(), dtype) == expected > 0
