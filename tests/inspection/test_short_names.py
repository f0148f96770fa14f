"""Short names that distinguish the command lines of experiments."""

import pytest

from audiocraft_export.inspection.short_names import YamlKeys, short_names

CONFIG = YamlKeys("optim:\n  lr: 1\n  ema:\n    use: true\nother:\n  use: false\n  deep:\n    lr: 3\n")


def test_short_names_are_the_overrides_that_not_all_command_lines_share():
    assert short_names([["a.lr=1", "b.dim=2"], ["a.lr=1", "b.dim=3", "x"]]) == ["dim=2", "dim=3 x"]
    assert short_names([["a.lr=1", "b.lr=2"], ["+a.lr=3"]]) == ["a.lr=1 b.lr=2", "+a.lr=3"]
    assert short_names([["a.lr=1"]]) == ["lr=1"] and short_names([]) == [] and short_names([["x"], ["x"]]) == ["", ""]


def test_only_overrides_that_all_of_the_same_group_share_are_omitted():
    assert short_names([["a=1", "b=1"], ["a=1", "b=2"], ["a=1"]], ["x", "x", "y"]) == ["b=1", "b=2", "a=1"]


@pytest.mark.parametrize(("override", "name"), [
    ("optim.ema.use=false", "ema.use=false"), ("other.use=true", "other.use=true"), ("optim.lr=2", "optim.lr=2"),
    ("other.deep.lr=2", "deep.lr=2"), ("+new.key=1", "key=1")])
def test_a_name_is_unique_among_all_keys_of_the_configurations(override, name):
    assert short_names([[override]], configs=[CONFIG]) == [name]


def test_a_name_is_unique_among_the_overrides_of_all_groups():
    assert short_names([["a.use=1"], ["b.use=1"]], ["x", "y"]) == ["a.use=1", "b.use=1"]
    assert short_names([["a.b.use=1"], ["c.b.use=1"], ["a.c.use=1"]]) == ["a.b.use=1", "c.b.use=1", "c.use=1"]


def test_the_arguments_of_argparse_keep_their_values_and_are_not_cut():
    lines = [["--lr", "0.2", "--export"], ["--lr", "0.2", "--out", "/data/x.y/z.wav"], ["--lr=0.1", "-v", "--n", "1.5"]]
    assert short_names(lines) == ["--export --lr 0.2", "--out /data/x.y/z.wav --lr 0.2", "--lr=0.1 -v --n 1.5"]


def test_all_values_of_an_argument_of_argparse_stay_together():
    lines = [["--betas", "0.9", "0.95", "--shift", "-1"], ["--betas", "0.9", "0.99", "--shift", "-.5", "-1e-3"]]
    assert short_names(lines) == ["--betas 0.9 0.95 --shift -1", "--betas 0.9 0.99 --shift -.5 -1e-3"]
