"""Add a cross attention without effect to a decoder that has none."""

from math import prod

import pytest
import torch

from audiocraft_export.checkpoint.torch_tensors import from_torch, to_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.musicgen.convert import from_musicgen, to_musicgen, zero_cross_attention

from .scene import CARD, COUNT, DIM, config, settings, weights, write


def test_the_added_cross_attention_changes_nothing(model, tmp_path):
    from transformers import MusicgenForCausalLM
    parts = to_musicgen(model(weights(), settings("none")))
    decoder = MusicgenForCausalLM.from_pretrained(write(parts, tmp_path / "release")).eval()
    codes = torch.randint(CARD + 1, (COUNT, 6))
    with torch.no_grad():
        alone, beside = decoder(codes).logits, decoder(codes, encoder_hidden_states=torch.randn(1, 3, DIM)).logits
    assert torch.equal(alone, beside)


def test_a_trained_cross_attention_cannot_be_converted_back(model):
    parts = to_musicgen(model(weights(), settings("none")))
    name = "model.decoder.layers.1.encoder_attn.v_proj.weight"
    changed = {**parts.tensors, **from_torch({name: torch.rand(DIM, DIM)})}
    with pytest.raises(CheckpointError, match=f"no cross attention, but {name} is not without effect"):
        from_musicgen(changed, {}, config("none"))


def test_a_filler_takes_no_memory_and_can_be_read_anywhere():
    for name, tensor in zero_cross_attention(1, 512, "float16").items():
        expected = torch.full(tensor.shape, 1.0 if "norm.weight" in name else 0.0, dtype=torch.float16)
        assert torch.equal(to_torch(tensor), expected) and tensor.nbytes == 2 * prod(tensor.shape)
        middle = b"".join(bytes(piece) for piece in tensor.blob.read(100, 140))
        assert middle == expected.flatten()[50:70].numpy().tobytes()
