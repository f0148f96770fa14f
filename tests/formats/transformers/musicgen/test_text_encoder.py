"""Load the T5 text encoder of a model."""

import pytest

from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.musicgen.text_encoder import load_text_encoder


def test_a_text_encoder_that_cannot_be_had_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"The text encoder t5-small, .* cannot be loaded: .*HF_HOME"):
        load_text_encoder("t5-small")
