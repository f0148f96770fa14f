"""The options of an export."""

import re

import pytest

from audiocraft_export import ExportError, ExportOptions
from audiocraft_export.errors import OptionError
from audiocraft_export.options import describe_options, other_options


@pytest.mark.parametrize("when", [0, -1, 1.5, True, None, "", "often", "-3"])
def test_when_is_an_end_a_best_or_a_number_of_epochs(when):
    with pytest.raises(ExportError, match="Invalid value .* for when: expected end, best or a number of epochs"):
        ExportOptions(when=when)


@pytest.mark.parametrize(("options", "flags"), [
    ({}, []), ({"folder": "x", "when": 3}, []), ({"dtype": "float16", "checkpoint": 7}, ["--dtype", "float16"]),
    ({"card": False, "private": True, "hub": "a/b"}, ["--no-card", "--push-to-hub", "a/b", "--private"]),
    ({"scrub": ["public", "a.*"], "max_shard_size": "1GB", "format": "safetensors"},
     ["--scrub", "public", "--scrub", "a.*"])], ids=str)
def test_the_flags_ask_for_the_same_options(options, flags):
    words = ExportOptions(**options).flags
    if "checkpoint" in options:
        flags = ["--checkpoint", "7", *flags]
    if "max_shard_size" in options:
        flags = ["--format", "safetensors", "--max-shard-size", "1GB", *flags]
    assert words == flags


@pytest.mark.parametrize(("option", "says"), [
    ({"dtype": "int3"}, "Invalid value 'int3' for dtype: expected float32, float16 or bfloat16."),
    ({"format": "safetensor"}, "expected audiocraft, safetensors or transformers. Did you mean 'safetensors'?"),
    ({"version": 1.3}, "Invalid value 1.3 for version: expected a non-empty string. Quote the number"),
    ({"checkpoint": "a/b"}, "Invalid value 'a/b' for checkpoint: expected an epoch or a name"),
    ({"max_shard_size": "0GB"}, "Invalid value '0GB' for max_shard_size: expected a number of bytes"),
    ({"card": 1}, "Invalid value 1 for card: expected true or false."),
    ({"private": None}, "Invalid value None for private: expected true or false."),
    ({"scrub": ["a..b"]}, "Invalid scrub pattern 'a..b'. Use a dotted key such as"),
    ({"scrub": "Public"}, "Unknown scrub preset 'Public'. Did you mean 'public'?"),
    ({"private": True}, "require a Hub repository. Set hub (--push-to-hub ORG/NAME)."),
    ({"hub": "model"}, "Invalid Hub repository 'model': expected ORG/NAME."),
    ({"hub": "a/b", "revision": "refs/pr/1"}, "Invalid value 'refs/pr/1' for revision: expected a branch"),
    ({"hub": "a/b", "revision": "a b"}, "Invalid value 'a b' for revision: expected a branch"),
    ({"hub": "a/b", "revision": ""}, "for revision: expected a non-empty string.")], ids=str)
def test_an_invalid_value_is_refused_with_the_expected_values(option, says):
    with pytest.raises(OptionError, match=re.escape(says)) as refusal:
        ExportOptions(**option)
    assert refusal.value.code == ("conflicting-options" if "require" in says else "invalid-option")


@pytest.mark.parametrize(("option", "meant"), [
    ({"dtype": "fp16"}, "float16"), ({"dtype": "half"}, "float16"), ({"dtype": "bf16"}, "bfloat16"),
    ({"dtype": "FP32"}, "float32"), ({"dtype": "torch.bfloat16"}, "bfloat16"), ({"dtype": "flaot16"}, "float16"),
    ({"format": "safetensor"}, "safetensors"), ({"format": "hf"}, "transformers"), ({"verify": "laod"}, "load"),
    ({"codec": "non"}, "none"), ({"family": "musicgn"}, "musicgen")], ids=str)
def test_a_value_of_another_name_gets_the_valid_one(option, meant):
    with pytest.raises(OptionError) as refusal:
        ExportOptions(**option)
    assert refusal.value.hint == f"did you mean {meant!r}?" and not re.search("null|None", str(refusal.value))


@pytest.mark.parametrize("dtype", ["float64", "int8", "8", ""])
def test_no_other_dtype_is_offered_for_one_that_is_not_supported(dtype):
    with pytest.raises(OptionError) as refusal:
        ExportOptions(dtype=dtype)
    assert refusal.value.hint == ""


@pytest.mark.parametrize(("name", "hint"), [("wieghts", "did you mean weights?"),
                                            ("push_to_hub", "did you mean hub?"), (3, "choose one of folder, weights,"),
                                            ("bogus", "choose one of folder, weights,")])
def test_an_unknown_option_is_refused_with_the_closest_one_or_all(name, hint):
    with pytest.raises(OptionError, match=f"Unknown option exporter.{name}") as refusal:
        ExportOptions.from_mapping({name: 1})
    assert refusal.value.code == "unknown-option" and refusal.value.hint.startswith(hint)


@pytest.mark.parametrize("revision", ["main", "v1.0", "feature/x-1", "1"])
def test_branches_of_the_hub(revision):
    assert ExportOptions(hub="org/model", revision=revision).revision == revision


def test_values_that_can_be_written_in_two_ways_are_equal():
    assert ExportOptions(checkpoint=3, when="2", max_shard_size="10", scrub="a", format="safetensors") == ExportOptions(
        checkpoint="3", when=2, max_shard_size=10, scrub=["a"], format="safetensors")


def test_an_option_without_effect_on_the_format_is_refused():
    with pytest.raises(ExportError, match="max_shard_size has no effect on format=audiocraft. Set format"):
        ExportOptions(max_shard_size="1GB")
    sharded = ExportOptions(max_shard_size="1GB", format="safetensors")
    with pytest.raises(ExportError, match="max_shard_size has no effect"):
        sharded.replace(format="audiocraft")


@pytest.mark.parametrize("weights", ["best", "state_dict", "ema_model.0", "a b"])
def test_weights_are_any_section(weights):
    assert ExportOptions(weights=weights).flags == ([] if weights == "best" else ["--weights", weights])


@pytest.mark.parametrize("weights", ["", None, 3, ".", ["best"]])
def test_weights_without_a_name_are_refused(weights):
    with pytest.raises(ExportError, match="for weights: expected best, ema, last or a section of the checkpoint"):
        ExportOptions(weights=weights)


def test_another_number_is_not_a_typo():
    with pytest.raises(OptionError, match="expected float32, float16 or bfloat16.$") as error:
        ExportOptions(dtype="float64")
    assert error.value.hint == ""
    with pytest.raises(OptionError) as error:
        ExportOptions(dtype="flot16")
    assert error.value.hint == "did you mean 'float16'?"


def test_valid_values_are_not_compared_with_similar_ones(monkeypatch):
    monkeypatch.setattr("audiocraft_export.options.get_close_matches", None)  # `run --all` has options for every XP
    assert ExportOptions(dtype="float16", format="safetensors").replace(codec="none").codec == "none"


def test_an_option_without_a_value_is_the_default():
    assert describe_options({"dtype": None, "weights": "last", "scrub": ["a", "b"]}) == \
        "default dtype, weights=last, scrub=a b"


def test_options_at_their_defaults_are_the_same_if_they_are_left_out():
    assert other_options({"weights": "last", "format": "audiocraft", "metric": "ce"}, {"dtype": "float16"}) == {
        "weights": "last", "dtype": None}
