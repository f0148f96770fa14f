"""Generate the metadata for the Hub, and merge it with manual edits."""

import json
import re
import time
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from audiocraft_export.release.metrics import BestRule
from audiocraft_export.sharing.card import frontmatter
from audiocraft_export.sharing.card.metadata import _is_ours, merge, to_remember

from .releases import card


def test_the_hub_reads_the_metrics_of_the_best_epoch(release):
    data = ModelCard(card(*release(), repo="me/model")).data
    assert data.model_name == "model"
    assert [(result.metric_type, result.metric_value, result.metric_name) for result in data.eval_results] == [
        ("ce", 2.5, "ce after epoch 3"), ("ppl", 9.0, "ppl after epoch 3")]
    assert not ModelCard(card(*release(weights="last"))).data.eval_results


def test_a_metric_that_a_person_adds_to_the_generated_ones_is_kept(release):
    text = card(*release())
    mine = "    - type: fad\n      value: 3.25\n      name: FAD on MusicCaps\n"
    generated = "      name: ce after epoch 3\n"
    assert generated in text
    edited = card(*release(), previous=text.replace(generated, generated + mine))
    found = {result.metric_name: result.metric_value for result in ModelCard(edited).data.eval_results}
    assert found == {"ce after epoch 3": 2.5, "ppl after epoch 3": 9.0, "FAD on MusicCaps": 3.25}
    assert card(*release(), previous=edited) == edited


def test_tags_that_a_person_deleted_stay_deleted_and_ours_are_brought_up_to_date(release):
    manifest, config, history = release()
    text = card(manifest, config, history).replace("- music-generation\n", "- mine\n")
    tags = ModelCard(card(manifest, config, history, format="safetensors", previous=text)).data.tags
    assert tags == ["audiocraft", "mine", "safetensors"]


def test_keys_that_a_person_deleted_stay_deleted(release):
    manifest, config, history = release()
    text = re.sub(r"model-index:.*?---", "---", card(manifest, config, history), count=1, flags=re.DOTALL)
    text = text.replace("library_name: audiocraft\n", "")
    for _ in range(2):
        text = card(manifest, config, history, previous=text)
    assert "model-index:" not in text and "library_name:" not in text and "pipeline_tag:" in text


def test_results_that_a_person_added_stay_and_ours_are_renewed(release):
    manifest, config, history = release()
    mine = ("  - task: {type: text-to-audio}\n    dataset: {name: MusicCaps, type: google/MusicCaps}\n"
            "    metrics:\n    - {type: fad, value: 1.5}\n")
    text = card(manifest, config, history).replace("  results:\n", "  results:\n" + mine)
    better = replace(manifest, best=BestRule("ce").best([{"valid": {"ce": 0.5}}]), weights_epoch=1)
    for _ in range(2):
        text = card(better, config, history, previous=text)
    assert [(result.metric_type, result.metric_value) for result in ModelCard(text).data.eval_results] == [
        ("fad", 1.5), ("ce", 0.5)]


@pytest.mark.parametrize(("theirs", "name"), [("MusicGen", "my-repo"), ("My model", "My model"), (None, "my-repo")])
def test_the_name_of_the_model_follows_the_export_until_a_person_changes_it(release, theirs, name):
    old = ModelCard(card(*release())).data.to_dict()
    new = {"model-index": [{**old["model-index"][0], "name": "my-repo"}]}
    merged = merge({"model-index": [{**old["model-index"][0], "name": theirs}]}, new, to_remember(old))
    assert merged == {"model-index": [{**new["model-index"][0], "name": name}]}


def test_a_key_follows_the_export_until_a_person_changes_it():
    old, new = {"library_name": "audiocraft"}, {"library_name": "transformers"}
    assert merge({}, old, {}) == merge(old, old, old) == old and merge(old, new, old) == new
    assert merge({"library_name": "mine"}, new, old) == {"library_name": "mine"} and merge({}, new, old) == {}
    assert merge(old, {}, old) == {} and merge({"tags": "a"}, {"tags": ["b"]}, {}) == {"tags": ["a", "b"]}
    assert to_remember({"model-index": [{"name": "x"}], "tags": ["a"]}) == {"model-index": "x", "tags": ["a"]}
    assert to_remember({"tags": ["a"]}, "5891b5") == {"tags": ["a"], "training-curve.png": "5891b5"}


def test_tags_of_any_number_and_type_take_no_time():
    theirs = [*map(str, range(20_000)), {"odd": 1}]
    start = time.process_time()
    assert merge({"tags": theirs}, {"tags": ["a"]}, {"tags": [*map(str, range(10_000, 400_000)), []]}) == {
        "tags": [*theirs[:10_000], {"odd": 1}, "a"]}
    assert time.process_time() - start < 5


@pytest.mark.parametrize(("index", "kept"), [
    *((odd, odd) for odd in (3, True, "a", {}, {"a": 1}, [3], ["a"], [None], [[]], [{"results": 3}],
                             [{"results": "abc"}], [{"results": {"a": 1}}], [{"results": True}])),
    ([], []), ([{}], []), ([{"results": None}], []),
    ([{"results": [3, None, {"dataset": 3}]}], [3, None, {"dataset": 3}])])
def test_a_model_index_of_any_type_stays_as_a_person_wrote_it(release, index, kept):
    text = card(*release(), previous=f"---\nmodel-index: {json.dumps(index)}\n---\n")
    found = frontmatter.parse(frontmatter.split_card(text)[0])["model-index"]
    if found != index:
        results = [result for entry in found for result in entry["results"]]
        assert [result for result in results if not _is_ours(result)] == kept and any(map(_is_ours, results))
    assert (found == index) == (kept == index and index != [])
    assert card(*release(), previous=text) == text
