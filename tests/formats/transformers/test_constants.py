"""Create and remove constant tensors."""

import pytest
import torch

from audiocraft_export.checkpoint.torch_tensors import from_torch, to_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.constants import constant, remove_constants


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("shape", [(7,), (300, 512)])
def test_a_constant_equals_a_filled_tensor(dtype, shape):
    tensor = constant(1, dtype, shape, "name")
    assert torch.equal(to_torch(tensor), torch.ones(shape, dtype=getattr(torch, dtype)))
    assert tensor.stride == torch.ones(shape).stride()


def test_only_untrained_constants_are_removed():
    tensors = {"zero": constant(0, "float32", (4,), "zero"), **from_torch({"other": torch.rand(2)})}
    assert [*remove_constants(tensors, {"zero": 0, "absent": 0}, "model has none", "zero")] == ["other"]
    with pytest.raises(CheckpointError, match="AudioCraft's model has none, but zero is not one, so it"):
        remove_constants(tensors, {"zero": 1}, "model has none", "one")
    negative = from_torch({"zero": torch.tensor([-0.0])})
    with pytest.raises(CheckpointError, match="so it was trained further"):
        remove_constants(negative, {"zero": 0}, "model has none", "zero")
