"""The options of an export."""

import re

import pytest

from audiocraft_export import ExportError, ExportOptions


@pytest.mark.parametrize("when", [0, -1, 1.5, True, None, "", "often", "-3"])
def test_when_is_an_end_a_best_or_a_number_of_epochs(when):
    with pytest.raises(ExportError, match="use end, best, or a number of epochs"):
        ExportOptions(when=when)


@pytest.mark.parametrize(("options", "flags"), [
    ({}, []), ({"folder": "x", "when": 3}, []), ({"dtype": "float16", "checkpoint": 7}, ["--dtype", "float16"]),
    ({"card": False, "private": True, "hub": "a/b"}, ["--no-card", "--push-to-hub", "a/b", "--private"]),
    ({"scrub": ["public", "a.*"], "max_shard_size": "1GB"}, ["--scrub", "public", "--scrub", "a.*"])], ids=str)
def test_the_flags_ask_for_the_same_options(options, flags):
    words = ExportOptions(**options).flags
    if "checkpoint" in options:
        flags = ["--checkpoint", "7", *flags]
    if "max_shard_size" in options:
        flags = ["--max-shard-size", "1GB", *flags]
    assert words == flags


@pytest.mark.parametrize(("option", "says"), [
    ({"dtype": "int3"}, "dtype=int3 is no option: use null, float32, float16, bfloat16."),
    ({"version": 1.3}, "version=1.3 is no option: it takes a text (quote it) or null."),
    ({"checkpoint": "a/b"}, "checkpoint=a/b is no option: it takes an epoch or a name"),
    ({"max_shard_size": "0GB"}, "max_shard_size=0GB is no option: it takes a number of bytes"),
    ({"card": 1}, "card=1 is no option: use true or false."), ({"private": None}, "private=None is no option"),
    ({"scrub": ["a..b"]}, "scrub='a..b' is no pattern"), ({"scrub": "Public"}, "did you mean public?"),
    ({"private": True}, "name it with hub"), ({"hub": "model"}, "ORG/NAME"),
    ({"hub": "a/b", "revision": "refs/pr/1"}, "'refs/pr/1' is no branch"),
    ({"hub": "a/b", "revision": "a b"}, "no branch"),
    ({"hub": "a/b", "revision": ""}, "takes a text")], ids=str)
def test_a_value_that_is_invalid_is_refused_with_the_valid_ones(option, says):
    with pytest.raises(ExportError, match=re.escape(says)):
        ExportOptions(**option)


@pytest.mark.parametrize("revision", ["main", "v1.0", "feature/x-1", "1"])
def test_branches_of_the_hub(revision):
    assert ExportOptions(hub="org/model", revision=revision).revision == revision


def test_values_that_can_be_written_in_two_ways_are_equal():
    assert ExportOptions(checkpoint=3, when="2", max_shard_size="10", scrub="a") == ExportOptions(
        checkpoint="3", when=2, max_shard_size=10, scrub=["a"])


@pytest.mark.parametrize("weights", ["best", "state_dict", "ema_model.0", "a b"])
def test_weights_are_any_section(weights):
    assert ExportOptions(weights=weights).flags == ([] if weights == "best" else ["--weights", weights])


@pytest.mark.parametrize("weights", ["", None, 3, ".", ["best"]])
def test_weights_without_a_name_are_refused(weights):
    with pytest.raises(ExportError, match="use best, ema, last, or a section of the checkpoint"):
        ExportOptions(weights=weights)
