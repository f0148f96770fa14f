"""The code of model cards, run as it stands there: in the folder of a release that AudioCraft trained."""

import pytest
import recipes
import transformers
from snippets import snippet_of

from audiocraft_export.checkpoint import open_checkpoint
from audiocraft_export.config import Config
from audiocraft_export.hf.card import card
from audiocraft_export.hf.usage import usage_part
from audiocraft_export.release import Manifest

MADE = {"musicgen": ("audio", (1, 1, 160000)), "stereo": ("audio", (1, 2, 160000)),
        "audiogen": ("audio", (1, 1, 160000)), "magnet": ("audio", (1, 1, 768000)),
        "encodec": ("decoded", (1, 1, 32000)), "diffusion": ("decoded", (1, 1, 32000))}
RECIPES = {"musicgen": recipes.MUSICGEN, "stereo": recipes.STEREO, "audiogen": recipes.AUDIOGEN,
           "magnet": recipes.MAGNET, "encodec": recipes.ENCODEC, "diffusion": recipes.DIFFUSION}


@pytest.mark.parametrize("name", RECIPES)
def test_the_code_of_a_card_makes_sound(name, place, monkeypatch):
    xp = place.train(RECIPES[name], "export=true")
    checkpoint = open_checkpoint(xp / "checkpoint.th")
    text = card(Manifest.read(xp / "export"), checkpoint.config, checkpoint.history)
    monkeypatch.chdir(xp / "export")
    names = {}
    exec(snippet_of(text), names)
    variable, shape = MADE[name]
    assert names[variable].shape == shape and names[variable].isfinite().all(), text


def run(architecture, folder, monkeypatch):
    """What the code for a class of transformers makes, in a folder."""
    usage = usage_part(None, Config({}), "transformers", architecture, None)
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
