"""The options that a manifest records."""

from audiocraft_export.release.recorded_options import describe_options, other_options


def test_an_option_without_a_value_is_the_default():
    assert describe_options({"dtype": None, "weights": "last", "scrub": ["a", "b"]}) == \
        "default dtype, weights=last, scrub=a b"


def test_options_at_their_defaults_are_the_same_if_they_are_left_out():
    assert other_options({"weights": "last", "format": "audiocraft", "metric": "ce"}, {"dtype": "float16"}) == {
        "weights": "last", "dtype": None}
