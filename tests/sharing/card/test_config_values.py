"""Read literal values of the right type from a configuration for a card."""

import pytest

from audiocraft_export.experiment.config import Config
from audiocraft_export.sharing.card.config_values import (
    conditioners_of,
    count_of,
    frame_rate_of,
    public_codec,
    value_of,
)


@pytest.mark.parametrize(("value", "shown"), [
    (3, 3), ("x", "x"), ("${b}", 2), ("${oc.env:HOME}", None), ("x-${oc.env:HOME}", None), ("???", None), (None, None)])
def test_literal_values_are_shown_and_interpolations_are_not(value, shown):
    assert value_of(Config({"a": {"x": value}, "b": 2}), "a.x") == shown


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None, [3], 1 << 31])
def test_a_count_is_a_positive_integer(value):
    assert count_of(Config({"a": value}), "a") is None and count_of(Config({"a": 3}), "a") == 3


@pytest.mark.parametrize(("ratios", "rate"), [
    ([8, 5, 4, 2], 75), ([], None), ([0], None), (["8"], None), ([True], None), ([2] * 33, None), (3, None),
    ([1 << 16], None)])
def test_the_frame_rate_is_the_sample_rate_over_the_hop(ratios, rate):
    assert frame_rate_of(Config({"sample_rate": 24000, "seanet": {"ratios": ratios}})) == rate
    assert frame_rate_of(Config({"seanet": {"ratios": ratios}})) is None


@pytest.mark.parametrize(("form", "name"), [
    ("//pretrained/facebook/encodec_32khz", "facebook/encodec_32khz"), ("//pretrained/x", "x"), ("//sig/aa", None),
    ("//pretrained//home/x", None), ("//pretrained/a/b/c", None), ("//pretrained/", None), (3, None)])
def test_only_a_public_codec_has_a_name(form, name):
    assert public_codec(Config({"compression_model_checkpoint": form})) == name


def test_only_sections_are_conditioners():
    config = Config({"conditioners": {"args": {}, "text": {"model": "t5"}, "x": 3}})
    assert conditioners_of(config) == {"text": {"model": "t5"}} and conditioners_of(Config({})) == {}
