"""Analyze the interpolations of a configuration: the resolvers they run, their references and their cost."""

import pytest
from helpers import SIG, load, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, export_xp
from audiocraft_export.experiment.interpolation import _strings, is_endless, references, without_resolvers

CODEC = "compression_model_checkpoint"


@pytest.fixture
def ran():
    """Register a resolver as training code does; return the arguments that it was called with."""
    calls = []
    OmegaConf.register_new_resolver("run", lambda *args: calls.append(args) or "musicgen")
    yield calls
    OmegaConf.clear_resolver("run")


@pytest.mark.parametrize("text", ["${run:1}", "${${name}:1}", "${oc.env:NOT_SET,${run:1}}", "${oc.decode:${run:1}}",
                                  "${indirect}", "${.indirect}", "x${indirect}"])
@pytest.mark.parametrize("key", ["fsdp.use", "fsdp"])
def test_a_resolver_of_the_training_code_is_never_run(make_xp, dora_dir, ran, key, text):
    cfg = with_cfg(name="run", indirect="${run:2}")
    OmegaConf.update(cfg, key, text)
    make_xp(**{"xp.cfg": cfg})
    with pytest.raises(ExportError, match=key):
        export_xp(SIG, dora_dir)
    assert ran == []


def test_a_resolver_of_an_unused_key_is_released_as_a_string(make_xp, dora_dir, ran):
    fsdp = {"use": False, "dtype": "${run:1}", "folder": "${oc.env:NOT_SET}"}
    make_xp(**{"xp.cfg": with_cfg(steps="${run:3}", path="${oc.env:NOT_SET}/x", fsdp=fsdp)})
    assert "steps: ${run:3}" in load(export_xp(SIG, dora_dir).files[0])["xp.cfg"] and ran == []


@pytest.mark.parametrize("levels", [14, 40, 1000])
def test_texts_that_double_each_other_are_endless(levels):
    values = {"solver": "${x0}", **{f"x{i}": f"${{x{i + 1}}}${{x{i + 1}}}" for i in range(levels)}, f"x{levels}": "a"}
    assert is_endless(values, "solver") and not is_endless(values, "fsdp.use")
    assert is_endless({**values, "a": {"b": "${x0}"}}, "a") and is_endless({**values, "a": "${${x}}"}, "a.b")


def test_many_short_references_are_not_endless():
    values = {"root": "/data", **{f"path{i}": "${root}/${name}/" + str(i) for i in range(200)}, "name": "${oc.env:X}",
              CODEC: "${path3}/checkpoint.th", "nested": {"a": "${.b}/${.c}", "b": "${..name}", "c": 1}}
    assert not is_endless(values, CODEC) and not is_endless(values, "nested")
    assert not is_endless({"a": "x", "b": "y", "all": {f"k{i}": "${a}/${b}" for i in range(100)}}, "all")
    flags = {f"part{i}": {"use": "${a}/${b}"} for i in range(15)}
    assert not is_endless({**flags, "fsdp": {"use": "${..flags.use}"}, "flags": {"use": "${a}"}}, "fsdp.use")
    assert not is_endless({"solver": "${n[0]}", "n": ["${n[1]}", "${n[2]}", "a"]}, "solver")
    assert not is_endless({"a": {"x": "1"}, "which": "x", CODEC: "${a.${which}}", **flags["part0"]}, CODEC)


@pytest.mark.parametrize("values", [
    {"solver": "${x/0}", **{f"x/{i}": f"${{x/{i + 1}}}${{x/{i + 1}}}" for i in range(40)}},
    {"solver": "${n.${p0}}", **{f"p{i}": f"l{i}" for i in range(40)},
     "n": {f"l{i}": f"${{n.${{p{i + 1}}}}}${{n.${{p{i + 1}}}}}" for i in range(40)}},
    {"solver": "${n[l0]}", "n": {f"l{i}": f"${{n[l{i + 1}]}}${{.l{i + 1}}}" for i in range(40)}},
    {"solver": "${n[0].x}", "n": [*({"x": f"${{n[{i + 1}].x}}${{n.{i + 1:03}.x}}"} for i in range(40)), {"x": "a"}]},
    {"solver": "${n[+0]}", "n": ["${n[0_1]}", "${n[0]}"]},
    {"solver": "${solver}"}, {"solver": "${a}", "a": "${solver}"}])
def test_no_way_of_writing_a_reference_hides_it(values):
    assert is_endless(values, "solver")


@pytest.mark.parametrize("solver", ["${run:1}", "${${a}:1}", "${oc.decode:${a}${b}}", '${oc.decode:"$${c}"}'])
def test_no_resolver_is_run_by_a_text_that_is_put_together(make_xp, dora_dir, ran, solver):
    make_xp(**{"xp.cfg": with_cfg(solver=solver, a="$", b="{run:1}", c="{run:2}")})
    assert export_xp(SIG, dora_dir).manifest.solver is None and ran == []


@pytest.mark.parametrize(("text", "kept"), [
    ("${a.b}", True), ("plain", True), ("${oc.env:A}", True), ("${oc.env:A,${b}}", True), ("${eval:1}", False),
    ("${${a}:1}", False), ("${a.${eval:1}}", False), ("${oc.env:A,${eval:1}}", False), ("${f:{a:1}}", False),
    ("${oc.env:A} ${eval:1}", False), ("${", False)])
def test_only_resolvers_that_are_allowed_are_left(text, kept):
    assert (without_resolvers({"a": [text]}, ("oc.env",)) == {"a": [text]}) == kept


def test_a_walk_gives_each_leaf_with_its_keys_and_indices():
    values = {"a": ["x", {"b": "y"}, 1], 2: {3: "z"}}
    assert [*_strings(values)] == [(("a", "0"), "x"), (("a", "1", "b"), "y"), (("2", "3"), "z")]


def test_references_have_the_paths_of_both_ends():
    values = {"a": "${b.c}/${.d}", "list": ["${..a}", "${n[${a}].x}", "${oc.env:HOME}", 3]}
    assert [*references(values)] == [
        (("a",), ("b", "c")), (("a",), ("d",)), (("list", "0"), ("a",)), (("list", "1"), ("**",)),
        (("list", "1"), ("a",)), (("list", "2"), ("oc", "env"))]
