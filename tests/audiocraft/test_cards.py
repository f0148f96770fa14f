"""The code of model cards for transformers runs unchanged."""

import pytest
import transformers
from snippets import snippet_of

from audiocraft_export.experiment.config import Config
from audiocraft_export.sharing.card.sections.usage import usage_section
from audiocraft_export.sharing.card.source import CardSource


def run(architecture, folder, monkeypatch):
    """Run the code for a transformers class in a folder, and return what it makes."""
    usage = usage_section(CardSource(None, Config({}), format="transformers", architecture=architecture))
    monkeypatch.chdir(folder)
    names = {}
    exec(snippet_of(f"<!-- audiocraft-export: usage -->\n{usage}\n<!-- /audiocraft-export: usage -->"), names)
    return names


@pytest.mark.parametrize("channels", [1, 2])
def test_the_code_for_a_codec_of_transformers_encodes_and_decodes(channels, tmp_path, monkeypatch):
    config = transformers.EncodecConfig(
        sampling_rate=16000, audio_channels=channels, num_filters=4, hidden_size=16, codebook_dim=16, codebook_size=32,
        target_bandwidths=[1.5], num_lstm_layers=1)
    transformers.EncodecModel(config).save_pretrained(tmp_path)
    transformers.EncodecFeatureExtractor(channels, 16000).save_pretrained(tmp_path)
    names = run("EncodecModel", tmp_path, monkeypatch)
    assert names["codes"].shape[-1] == 50 and names["decoded"].shape == (1, channels, 16000)


def test_the_code_for_a_decoder_of_transformers_makes_codes(tmp_path, monkeypatch):
    model = transformers.MusicgenForCausalLM(transformers.MusicgenDecoderConfig(
        vocab_size=32, num_hidden_layers=1, ffn_dim=8, num_attention_heads=2, hidden_size=8, num_codebooks=4,
        pad_token_id=32, bos_token_id=32))
    for token in ("decoder_start", "bos", "pad"):
        setattr(model.generation_config, f"{token}_token_id", 32)
    model.save_pretrained(tmp_path)
    codes = run("MusicgenForCausalLM", tmp_path, monkeypatch)["codes"]
    assert codes.shape[:2] == (1, 4) and codes.min() >= 0 and codes.max() < 32
