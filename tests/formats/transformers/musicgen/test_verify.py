"""Compare language models without AudioCraft; tests/audiocraft has the comparisons with it."""

import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from audiocraft_export.errors import ReleaseError
from audiocraft_export.formats.transformers.musicgen.architecture import layout_of
from audiocraft_export.formats.transformers.musicgen.convert import to_musicgen
from audiocraft_export.formats.transformers.musicgen.verify import load_musicgen, verify_musicgen
from audiocraft_export.formats.transformers.musicgen.verify_inputs import build_conditions

from .scene import CARD, COUNT, config, settings, weights, write


@pytest.fixture
def folder(model, tmp_path):
    return write(to_musicgen(model(weights(), settings("none"))), tmp_path / "release")


def test_verification_without_audiocraft_reports_that_it_is_needed(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "audiocraft", None)
    with pytest.raises(ReleaseError, match=r"cannot be loaded by AudioCraft: ModuleNotFoundError: .*verify=bytes"):
        verify_musicgen(folder)


def test_tensors_that_are_missing_or_too_many_are_named(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["strange"] = tensors.pop("lm_heads.3.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ReleaseError, match=r"missing keys lm_heads\.3\.weight, unexpected keys strange.*Export"):
        load_musicgen(folder)


def test_a_decoder_without_conditions_gets_no_conditions(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "audiocraft", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "audiocraft.modules", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "audiocraft.modules.conditioners", SimpleNamespace(
        ConditioningAttributes=SimpleNamespace))
    provider = SimpleNamespace(text_conditions=[], conditioners={})
    lm = SimpleNamespace(condition_provider=provider, n_q=COUNT, card=CARD)
    conditions = build_conditions(folder, layout_of(config("none")), lm, load_musicgen(folder))
    assert conditions.attributes == [] and conditions.tensors == {} and conditions.length(10) == 14
    with torch.no_grad():
        assert conditions.logits(torch.zeros(1, COUNT, 6, dtype=torch.long)).shape == (COUNT, 6, CARD)
