"""The section `model` of a card, by type and configuration of the model."""

import ast
from dataclasses import replace

import pytest
from helpers import SIG
from huggingface_hub import ModelCard
from snippets import snippet_of

from audiocraft_export.errors import readable_size
from audiocraft_export.sharing.card.sections.model import model_section
from audiocraft_export.sharing.card.source import CardSource

from ..releases import CONFIGS, card

SAYS = {  # texts that only the card of this family can have
    "musicgen": "4 codebooks, 2,048 entries each, `delay` pattern", "audiogen": "AudioGen.get_pretrained",
    "magnet": "decoding_steps=[20, 10, 10, 10]", "audio_magnet": "MAGNeT", "jasco": "flow matching",
    "lm": "`description` (`t5-base`)", "sound_lm": "2 layers, 16 heads, dimension 1,024",
    "compression": "8 codebooks, 1,024 entries each, 75 Hz, 6 kbit/s", "diffusion": "codec.set_num_codebooks(4)",
    "watermarking": "| Message | 16 bits |", "mine": "| Solver | `mine` |", "nothing": "trained with Flashy and Dora"}


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_has_a_card_with_a_summary_and_valid_code(release, family):
    text = card(*release(CONFIGS[family]))
    assert SAYS[family] in text and f"`{SIG}`" in text and "sha" in text.lower()
    ast.parse(snippet_of(text))
    ast.parse(snippet_of(card(*release(CONFIGS[family]), repo="me/model")))
    data = ModelCard(text).data
    assert data.pipeline_tag == {"compression": "feature-extraction", "diffusion": "audio-to-audio", "mine": None,
                                 "nothing": None, "watermarking": "audio-to-audio"}.get(family, "text-to-audio")
    assert (data.library_name == "audiocraft") == (family not in ("mine", "nothing"))


def test_a_license_is_never_generated(release):
    text = card(*release())
    assert ModelCard(text).data.license is None and "No license specified. Add `license:`" in text
    stated = card(*release(), previous=text.replace("---\n", "---\nlicense: mit\n", 1))
    assert ModelCard(stated).data.license == "mit" and "No license specified" not in stated


def test_values_of_this_machine_are_not_in_the_card(release, monkeypatch):
    monkeypatch.setenv("SECRET_PLACE", "/home/me/secret")
    cfg = {**CONFIGS["musicgen"], "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz",
           "conditioners": {"description": {"model": "t5", "t5": {"name": "${oc.env:SECRET_PLACE}"}},
                            "other": {"model": "t5", "t5": {"name": "/home/me/t5"}}}}
    text = card(*release(cfg))
    assert "/home" not in text and "| Conditioning | `description` (`t5`), `other` (`t5`) |" in text


PUBLIC = {"pretrained": "facebook/encodec_32khz"}


@pytest.mark.parametrize(("release_format", "codec", "shown"), [
    ("audiocraft", None, "not included"),
    ("audiocraft", PUBLIC, "`facebook/encodec_32khz`, which AudioCraft downloads"),
    ("safetensors", PUBLIC, "`facebook/encodec_32khz`, which AudioCraft downloads"),
    ("transformers", PUBLIC, "`facebook/encodec_32khz`, included"),
    ("audiocraft", {"sig": SIG}, f"experiment `{SIG}`, included"),
    ("transformers", {"sig": None, "file": {}}, "included")])
def test_a_card_says_whether_the_release_includes_the_compression_model(release, release_format, codec, shown):
    manifest, config, _ = release(CONFIGS["musicgen"])
    manifest = replace(manifest, codec=codec, options={**manifest.options, "format": release_format})
    text = model_section(CardSource(manifest, config), has_license=True)
    size = readable_size(sum(file.bytes for file in manifest.files))
    is_included = shown.endswith("included") and shown != "not included"
    assert f"parameters (`float32`, `int64`), {size}{' with the compression model' if is_included else ''} |" in text
    assert f"| Compression model | {shown} |" in text


@pytest.mark.parametrize(("count", "shown"), [
    (1, "1"), (9_999, "9,999"), (12_345, "12.3 k"), (3_300_000, "3.3 M"), (1_500_000_000, "1.5 G")])
def test_parameters_are_counted_in_three_digits(release, count, shown):
    manifest, config, _ = release(CONFIGS["nothing"])
    text = model_section(CardSource(replace(manifest, parameters=count), config), has_license=True)
    assert f"| Size | {shown} parameters (`float32`, `int64`), " in text
    assert "license" not in text and "| Audio |" not in text
