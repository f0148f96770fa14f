"""Walk through nested data."""

from audiocraft_export.experiment.walk import walk


def test_each_leaf_has_the_path_that_leads_to_it():
    nested = {"a": [1, {2: "x"}], "b": {}, "c": (None,)}
    assert list(walk(nested)) == [(("a", 0), 1), (("a", 1, 2), "x"), (("c", 0), None)]
    assert list(walk(3)) == [((), 3)]
