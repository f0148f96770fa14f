"""Hostile names in a checkpoint: of globals, solvers, signatures, sections, weights and keys."""

import os
import sys
import types

import pytest
import torch
from helpers import SIG, solver_state, with_cfg

from audiocraft_export import (
    ExportError,
    export_checkpoint,
    export_encodec,
    export_lm,
)

from .names import CODEC, CONTROL, is_clean, label, lines, tree


def stranger(monkeypatch, name, module="evil"):
    """Create an object whose class has a name that only STACK_GLOBAL can write."""
    kind = type("Kind", (), {"__module__": module, "__qualname__": name})
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    setattr(sys.modules[module], name, kind)
    return kind()


@pytest.mark.parametrize("name", [CONTROL, "x" * 10_000, "é\u202e", os.fsdecode(b"\xff"), "%s{}", "${oc:HOME}"],
                         ids=["control", "long", "unicode", "surrogate", "format", "interpolation"])
@pytest.mark.parametrize("where", ["history", "optimizer", "best_state", "xp.cfg", "xp.sig", "key", "codec"])
def test_the_name_of_an_unknown_global_is_shown_in_one_clean_line(make_xp, dora_dir, run, monkeypatch, name, where):
    value = stranger(monkeypatch, name)
    sections = {
        "history": {"history": [{"valid": value}]}, "optimizer": {"optimizer": value},
        "best_state": {"best_state": {"model": {"w": value}}}, "xp.cfg": {"xp.cfg": {"a": value}},
        "xp.sig": {"xp.sig": value}, "key": {"xp.cfg": {value: 1}}, "codec": {}}[where]
    xp = dora_dir / "xps" / (CODEC if where == "codec" else SIG)
    xp.mkdir(parents=True)
    codec = with_cfg(solver="compression", compression_model="encodec")
    cfg = {"xp.cfg": codec, "xp.sig": CODEC, "history": [value]} if where == "codec" else {}
    torch.save(solver_state(**{**sections, **cfg}), xp / "checkpoint.th", pickle_protocol=4)
    if where == "codec":
        make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")})
    for flags in ([], ["--json"]):
        code, out, err = run(SIG, f"--dora-dir={dora_dir}", *flags)
        assert code == (where in ("best_state", "xp.cfg", "xp.sig", "key")) or "\udcff" in name
        assert len(out) == (code == 0 or "--json" in flags) and len(err) <= 2
    for path in dora_dir.rglob("export.json"):
        assert all(map(is_clean, lines(path.read_text().replace("x" * 3000, "")))), path.read_text()


@pytest.mark.parametrize("text", [CONTROL, "\x1b[31mred", "x" * 10_000, "../../etc", "%s", "\u202e", "\ud800", ""],
                         ids=label)
@pytest.mark.parametrize("where", ["solver", "xp.sig", "section", "weight", "key", "codec", "codec key"])
def test_names_in_a_checkpoint_are_shown_in_clean_lines(make_xp, dora_dir, tmp_path, run, where, text):
    bad = torch.device("cpu")  # not plain data
    musicgen = {"solver": "musicgen"}
    folder = make_xp(**{
        "solver": {"xp.cfg": with_cfg(solver=text)}, "xp.sig": {"xp.sig": text},
        "section": {text: 1, "best_state": ...}, "weight": {"best_state": {"model": {text: bad}}},
        "key": {"xp.cfg": {text: bad}},
        "codec": {"xp.cfg": with_cfg(**musicgen, compression_model_checkpoint=text)},
        "codec key": {"xp.cfg": with_cfg(**musicgen, compression_model_checkpoint=f"//sig/{CODEC}")}}[where])
    if where == "codec key":
        make_xp(CODEC, **{"xp.cfg": with_cfg(solver=text)})
    export = [export_lm, export_encodec]
    for flags in ([], ["--json"], ["--weights=last"], ["--weights=ema"], ["--json", "--bands"]):
        code, out, err = run(folder, f"--folder={tmp_path}/here/out", *flags)
        assert code in (0, 1) and len(out) <= 1
    for function in export:
        try:
            function(folder / "checkpoint.th", tmp_path / "here" / "out.bin")
        except ExportError as exc:
            assert is_clean(str(exc))
    for path in tmp_path.rglob("export.json"):
        assert all(is_clean(line.replace("x" * 10_000, "")) for line in lines(path.read_text()))


@pytest.mark.parametrize("sig", ["../../etc", "/etc/passwd", "..", "", "a/b", "a\0b", "//sig/../..", CONTROL],
                         ids=label)
@pytest.mark.parametrize("solver", ["mine", "compression"])
def test_a_signature_in_a_checkpoint_leads_nowhere(make_xp, dora_dir, tmp_path, run, sig, solver):
    path = make_xp(**{"xp.sig": sig, "xp.cfg": with_cfg(solver=solver)}) / "checkpoint.th"
    out = tmp_path / "here" / "out"
    before = tree(tmp_path)
    assert run(path, path.parent, f"--folder={out}", f"--dora-dir={dora_dir}")[0] in (0, 1)
    export_checkpoint(path, out)
    assert all(out in new.parents for new in set(tree(tmp_path)) - set(before))
    assert before.items() <= tree(tmp_path).items()
