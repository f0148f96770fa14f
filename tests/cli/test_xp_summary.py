"""What distinguishes the command lines of experiments."""

from audiocraft_export.cli.xp_summary import short_names


def test_what_distinguishes_command_lines_is_what_not_all_have():
    assert short_names([["a.lr=1", "b.dim=2"], ["a.lr=1", "b.dim=3", "x"]]) == ["dim=2", "dim=3 x"]
    assert short_names([["a.lr=1", "b.lr=2"], ["+a.lr=3"]]) == ["a.lr=1 b.lr=2", "+a.lr=3"]
    assert short_names([["a.lr=1"]]) == ["lr=1"] and short_names([]) == [] and short_names([["x"], ["x"]]) == ["", ""]
