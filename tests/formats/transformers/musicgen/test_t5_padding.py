"""Pad a T5 with channels."""

import torch

from audiocraft_export.checkpoint.torch_tensors import from_torch, to_torch
from audiocraft_export.formats.transformers.musicgen.t5_padding import PADDING, pad_t5
from audiocraft_export.formats.transformers.musicgen.text_encoder import TextEncoder


def test_a_padded_text_encoder_gives_the_same_output():
    from transformers import T5Config, T5EncoderModel
    for kind in ("relu", "gated-gelu"):  # feed-forward layers of T5 and Flan-T5
        t5 = T5EncoderModel(T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
                                     feed_forward_proj=kind, layer_norm_epsilon=0.1)).eval()
        with torch.no_grad():
            for parameter in t5.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        encoder = pad_t5(TextEncoder(t5.config.to_dict(), from_torch(dict(t5.named_parameters())), {}))
        wide = T5EncoderModel(T5Config(**encoder.config)).eval()
        wide.load_state_dict({name: to_torch(tensor) for name, tensor in encoder.tensors.items()}, strict=False)
        with torch.no_grad():
            there, here = wide(torch.arange(9)[None])[0], t5(torch.arange(9)[None])[0]
        assert there.shape[2] == 32 + PADDING and not there[..., 32:].any()
        assert torch.allclose(there[..., :32], here, rtol=1e-5, atol=1e-5)
