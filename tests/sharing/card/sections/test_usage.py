"""The section `usage` of a card: code that parses and runs."""

import ast

import pytest
import torch
from helpers import SIG, model_state
from huggingface_hub import ModelCard
from snippets import blocks_of, snippet_of

from audiocraft_export.sharing.card.sections.usage import usage_section
from audiocraft_export.sharing.card.source import CardSource

from ..releases import CONFIGS, card


@pytest.mark.parametrize(("architecture", "task"), [
    ("MusicgenForConditionalGeneration", "text-to-audio"), ("MusicgenMelodyForConditionalGeneration", "text-to-audio"),
    ("MusicgenForCausalLM", "audio-to-audio"), ("EncodecModel", "feature-extraction")])
def test_a_model_of_transformers_is_loaded_by_its_class(release, architecture, task):
    text = card(*release(), format="transformers", architecture=architecture)
    assert f'model = {architecture}.from_pretrained(".")' in snippet_of(text)
    ast.parse(snippet_of(text))
    data = ModelCard(text).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", task) and "musicgen" not in data.tags


def test_safetensors_are_loaded_as_they_are_and_brought_back(release):
    text = card(*release(), format="safetensors", repo="me/model")
    (first, loads), (shell, converts), (last, uses) = blocks_of(text)
    assert (first, shell, last) == ("python", "sh", "python")
    assert "load_file" in loads and "audiocraft-export convert release --to audiocraft" in converts
    assert 'MusicGen.get_pretrained("converted")' in uses
    assert "safetensors" in ModelCard(text).data.tags and "musicgen" not in ModelCard(text).data.tags


def test_in_a_release_folder_what_is_brought_back_gets_a_folder_beside_it(release):
    (_, converts), (_, uses) = blocks_of(card(*release(), format="safetensors"))[1:]
    assert converts.strip() == "audiocraft-export convert . --to audiocraft --folder ../converted"
    assert 'MusicGen.get_pretrained("../converted")' in uses


def test_the_code_of_a_general_model_loads_its_release(release, dora_dir, monkeypatch):
    text = card(*release(CONFIGS["mine"]))
    monkeypatch.chdir(dora_dir / "xps" / SIG / "export")
    names = {}
    exec(snippet_of(text), names)  # images of this package
    assert list(names["state"]) == list(model_state())


def test_code_of_safetensors_loads_each_file(release, tmp_path, monkeypatch):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"a": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
    safetensors.save_file({"b": torch.ones(3)}, tmp_path / "model-00002-of-00002.safetensors")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet_of(card(*release(), format="safetensors")), names)
    assert [list(state) for state in names["states"].values()] == [["a"], ["b"]]


@pytest.mark.parametrize(("conditioners", "call"), [
    ({}, "generate_unconditional(1)"), ({"genre": {"model": "lut"}}, 'generate(["happy rock"])'),
    ({"self_wav": {"model": "chroma_stem"}}, 'generate_with_chroma(["happy rock"], melody, model.sample_rate)')])
def test_the_code_of_a_language_model_uses_its_conditions(release, conditioners, call):
    assert call in snippet_of(card(*release({**CONFIGS["musicgen"], "conditioners": conditioners})))


@pytest.mark.parametrize("solver", ["musicgen", "magnet", "jasco"])
def test_a_language_model_without_its_codec_has_no_generation_code(release, solver):
    text = card(*release(CONFIGS[solver], codec="none"))
    assert "get_pretrained" not in text and "| Compression model | not included |" in text
    ast.parse(snippet_of(text))


@pytest.mark.parametrize("values", [{}, {"format": "safetensors"},
                                    {"format": "transformers", "architecture": "EncodecModel"}])
def test_the_model_of_a_branch_is_downloaded_from_that_branch_and_loaded_from_its_folder(release, values):
    text = card(*release(CONFIGS["musicgen"]), repo="me/model", revision="v2", **values)
    (language, download), *blocks = blocks_of(text)
    assert (language, download.strip()) == ("sh", "hf download me/model --revision v2 --local-dir release")
    assert '"release"' in snippet_of(text) and not any("me/model" in block for _, block in blocks)


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_a_release_is_loaded_where_it_lies(release, format):
    source = CardSource(*release(), format=format)
    assert usage_section(source).startswith("## Usage\n\nIn the release folder (`.` or its path):\n\n```python\n")
    there = usage_section(CardSource(*release(), format=format, repo="me/model"))
    assert there.startswith("## Usage\n\nLoad `me/model`:\n") and '"me/model"' in there
