"""Names and shapes of a transformers class, without memory for its weights."""

import pytest
import torch

from audiocraft_export.checkpoint.torch_tensors import from_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.shapes import check_shapes, meta_shapes

T5 = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}


def test_tied_tensors_have_one_name_and_random_numbers_stay():
    before = torch.get_rng_state()
    shapes = meta_shapes("T5EncoderModel", T5)
    assert shapes["shared.weight"] == (50, 32) and "encoder.embed_tokens.weight" not in shapes
    assert meta_shapes("T5EncoderModel", {**T5, "d_model": 1 << 20})["shared.weight"] == (50, 1 << 20)
    assert torch.equal(before, torch.get_rng_state())


def test_each_difference_is_named():
    tensors = {name: torch.zeros(shape) for name, shape in meta_shapes("T5EncoderModel", T5).items()}
    check_shapes("T5EncoderModel", T5, from_torch(tensors))
    tensors["more"] = tensors.pop("encoder.final_layer_norm.weight")
    tensors["shared.weight"] = torch.zeros(2, 2)
    with pytest.raises(CheckpointError, match=r"final_layer_norm.weight is missing, more is unexpected, shared.weight "
                                              r"has the shape \[2, 2\], expected \[50, 32\]\. Use format=safetensors"):
        check_shapes("T5EncoderModel", T5, from_torch(tensors))
