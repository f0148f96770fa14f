"""Prefixes of torch.compile, DDP and FSDP in the names of tensors."""

import pytest
import torch

from audiocraft_export.checkpoint.wrappers import strip_wrappers, wrapper_warnings
from audiocraft_export.errors import CheckpointError


def compiled():
    """Build a compiled model whose encoder is compiled and wrapped as by DDP."""
    model = torch.nn.ModuleDict({"encoder": torch.nn.Sequential(torch.nn.Linear(2, 2)), "head": torch.nn.Linear(2, 2)})
    plain = list(model.state_dict())
    model["encoder"] = torch.nn.DataParallel(torch.compile(model["encoder"]))
    return torch.compile(model).state_dict(), plain


def test_prefixes_of_wrappers_are_removed_at_any_level():
    state, plain = compiled()
    assert "_orig_mod.encoder.module._orig_mod.0.weight" in state
    stripped, notes = strip_wrappers(state, "best_state")
    assert list(stripped) == plain and [*stripped.values()] == [*state.values()]
    assert "prefix-removed: removed the prefix _orig_mod. (torch.compile) from 4 names of best_state" in notes
    assert any("module. (DistributedDataParallel or DataParallel) from 2 names" in note for note in notes)


@pytest.mark.parametrize("name", ["a.module", "module", "_orig_mod", "modules.0.a", "x_orig_mod.a", 3, ""])
def test_other_names_stay(name):
    assert strip_wrappers({name: 1}, "x") == ({name: 1}, ())


@pytest.mark.parametrize(("names", "bare"), [
    (["module.a", "head.b"], None), (["module.a", "a"], None), (["x.module.a", "x.b"], None),
    (["_orig_mod.module.a", "_orig_mod.b"], ["module.a", "b"]), (["module.module.a", "module.b"], ["module.a", "b"]),
    (["module.module.a"], ["a"]), (["_orig_mod.a", "b"], ["a", "b"]), (["x.module.a", "y.b"], ["x.a", "y.b"]),
    (["n_averaged", "module.a"], ["n_averaged", "a"])])
def test_a_module_with_siblings_is_not_the_prefix_of_ddp(names, bare):
    stripped, notes = strip_wrappers(dict.fromkeys(names, 1), "x")
    assert [*stripped] == (bare or names)
    is_kept = any(note.startswith("prefix-kept: kept module.") for note in notes)
    assert is_kept == any("module." in name for name in stripped)


@pytest.mark.parametrize("names", [("_orig_mod.a", "a"), ("_orig_mod.a", "_orig_mod._orig_mod.a"),
                                   ("b._orig_mod.a", "b.a")])
def test_two_tensors_of_one_name_are_refused(names):
    with pytest.raises(CheckpointError, match="with and without the prefixes.*family=general"):
        strip_wrappers(dict.fromkeys(names, 1), "best_state")


@pytest.mark.parametrize(("names", "counts"), [
    (["_orig_mod.a.w", "_orig_mod.b.w"], [2]), (["module.a", "module.b.c"], [2]), (["enc.module.a", "dec.a"], [1]),
    (["module.a", "b"], []), (["module.a", "other.b"], []), (["enc.module.a", "enc.other.a"], []), (["a.module"], []),
    (["module._orig_mod.a"], [1, 1]), (["n_averaged", "module.a"], [1]), (["a", "b.c"], []), ([], [])])
def test_warnings_are_of_names_that_only_a_wrapper_gives(names, counts):
    state = dict.fromkeys(names, 1)
    for nested in (state, {"model": state, "head": {"w": 1}}):
        said = [*wrapper_warnings(nested, "best_state")]
        assert [int(text.removeprefix("prefix-kept: ").split()[0]) for text in said] == counts


def test_names_of_any_length_take_no_time():
    names = [f"{'module.' * 580}{index}" for index in range(5000)]
    assert len([*wrapper_warnings(dict.fromkeys(names, 1), "x")]) == 1
