"""Tensor names of a language model."""

import pytest
import torch

from audiocraft_export.checkpoint.torch_tensors import from_torch
from audiocraft_export.formats.transformers.musicgen.architecture import layout_of
from audiocraft_export.formats.transformers.musicgen.key_maps import musicgen_key_map, tied_names, unmapped_prefixes

from .scene import config, weights


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("kind", "prefix"), [("text", "decoder."), ("none", "")])
def test_names_are_mapped_both_ways(kind, prefix, fused):
    layout, state = layout_of(config(kind)), weights(fused, cross=kind == "text")
    renamed = musicgen_key_map(layout, fused).to_transformers(from_torch(state))
    assert all(name.startswith((f"{prefix}model.decoder.", f"{prefix}lm_heads.")) for name in renamed)
    assert musicgen_key_map(layout, fused).to_audiocraft(renamed).keys() == state.keys()


def test_a_t5_that_was_trained_is_inside():
    layout = layout_of(config("text", conditioners__description__t5__finetune=True))
    dropped, kept = tied_names(layout)
    assert dropped.endswith("t5.encoder.embed_tokens.weight")
    renamed = musicgen_key_map(layout, True).to_transformers(from_torch({kept: torch.rand(2)}))
    assert [*renamed] == ["text_encoder.shared.weight"]


@pytest.mark.parametrize(("kind", "prefixes"), [
    ("text", ()), ("melody", ("condition_provider.conditioners.self_wav.chroma.",)),
    ("lut", ("condition_provider.conditioners.",))])
def test_unmapped_tensors_are_found_by_prefix(kind, prefixes):
    assert unmapped_prefixes(layout_of(config(kind))) == prefixes
