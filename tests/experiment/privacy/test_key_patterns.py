"""Match keys with patterns, and list the items of nested data."""

from audiocraft_export.experiment.privacy.scrub import matches
from audiocraft_export.experiment.walk import items_of


def test_a_pattern_matches_the_topmost_paths():
    values = {"a": {"path": {"path": 1}}, "path": 2, "list": [{"path": 3}]}
    assert {*matches(values, ["**.path"])} == {("a", "path"), ("path",), ("list", "0", "path")}
    assert {*matches(values, ["a", "a.path"])} == {("a",)} and not [*matches(values, ["b"])]


def test_items_have_a_name_and_a_key():
    assert [*items_of({1: "x"})] == [("1", 1, "x")]
    assert [*items_of(["x"])] == [*items_of(("x",))] == [("0", 0, "x")]
    assert [*items_of("x")] == [*items_of(None)] == []
