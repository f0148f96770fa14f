"""Tensors of torch that are not plain, or not contiguous."""

import pytest
import torch
from helpers import NEW_DTYPES, SIG, load, same

from audiocraft_export import ExportError, export_xp


def test_a_quantized_weight_is_refused_by_name(make_xp, dora_dir):
    make_xp(best_state={"model": {"q": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}})
    with pytest.raises(ExportError, match="'q'"):
        export_xp(SIG, dora_dir)


def test_small_dtypes_are_released_when_they_are_not_contiguous(make_xp, dora_dir):
    dtype = torch.float8_e4m3fn if "float8_e4m3fn" in NEW_DTYPES else torch.bfloat16
    best = {"t": torch.arange(6.0).view(2, 3).to(dtype).t()}
    make_xp(best_state={"model": best})
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], best)
