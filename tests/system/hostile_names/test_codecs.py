"""Hostile references to a compression model."""

import shutil

import pytest
import torch
from helpers import SIG, load, model_state, same, solver_state, with_cfg

from audiocraft_export import (
    ExportError,
    export_pretrained_compression_model,
    export_xp,
)

from .names import CODEC, is_clean, label


@pytest.fixture
def decoys(make_xp, tmp_path, dora_dir):
    """Write a codec, and files outside of its XP folder that could be mistaken for it."""
    cfg = {"xp.cfg": with_cfg(solver="compression", compression_model="encodec")}
    make_xp(CODEC, **cfg, best_state={"model": model_state(6)})
    (dora_dir / "xps" / CODEC / "inner").mkdir()
    decoy = tmp_path / "decoy.th"
    torch.save(solver_state(CODEC, **cfg, best_state={"model": model_state(66)}), decoy)
    other = make_xp("c0dec001", **{**cfg, "best_state": {"model": model_state(66)}})
    places = [tmp_path, dora_dir, dora_dir / "xps", tmp_path / "decoy"]
    for place in places:
        place.mkdir(exist_ok=True)
        shutil.copy(decoy, place / "checkpoint.th")
    return [decoy, other / "checkpoint.th", *(place / "checkpoint.th" for place in places)]


@pytest.mark.parametrize("rest", [
    "..", "../..", "../../..", "../../checkpoint.th", ".", "./{codec}", "/{codec}", "{codec}/..", "{codec}/../",
    "{codec}/../..", "{codec}/../../..", "{codec}/../c0dec001", "{codec}/../../xps/c0dec001/checkpoint.th",
    "{codec}/../checkpoint.th", "{codec}/inner/../..", "{codec}/inner/../../checkpoint.th", "{codec}//etc/passwd",
    "{codec}/{root}/decoy/checkpoint.th", "{codec}/{root}/decoy", "{codec}/{root}/decoy.th", "/{root}/decoy",
    "{root}/decoy", "{codec}/./..", "{codec}/.//checkpoint.th/../..", "{codec}\0/../..", "{codec}/\0",
    "{codec}\n/../..", "{codec}/..\n", " ..", "..\\..", "~", "{codec}/~/checkpoint.th"], ids=label)
def test_a_codec_by_its_signature_is_never_read_outside_of_its_xp_folder(make_xp, dora_dir, tmp_path, run, decoys,
                                                                        opened, rest):
    form = "//sig/" + rest.format(codec=CODEC, root=tmp_path)
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=form)})
    for export in (lambda: run(SIG, f"--dora-dir={dora_dir}"), lambda: export_xp(SIG, dora_dir)):
        try:
            export()
        except ExportError as exc:
            assert is_clean(str(exc)) and "codec=none" in str(exc)
    for path in dora_dir.rglob("compression_state_dict.bin"):
        assert same(load(path)["best_state"], model_state(6))
    assert not {str(path) for path in decoys} & set(opened) and "/etc/passwd" not in opened


@pytest.mark.parametrize("form", [
    "//pretrained/../x", "//pretrained/..", "//pretrained/.", "//pretrained//", "//pretrained/~", "//pretrained/a\nb",
    "//pretrained/a\x1b[2Jb", "//pretrained/\0", "//pretrained/" + "x" * 10_000, "//reference/../..", "//reference/\0",
    "//reference/" + "x" * 300, "//unknown/../..", "//", "///", "/", ".", "..", "\0", "\n", "x" * 10_000], ids=label)
def test_a_codec_of_another_form_is_refused_or_a_reference_in_one_clean_line(make_xp, dora_dir, run, form, monkeypatch,
                                                                             tmp_path):
    monkeypatch.setenv("AUDIOCRAFT_REFERENCE_DIR", str(tmp_path / "here"))
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=form)})
    code, out, err = run(SIG, f"--dora-dir={dora_dir}", "--version=1")
    assert len(out) + len(err) == 1 and code in (0, 1)
    for path in dora_dir.rglob("compression_state_dict.bin"):
        assert form == f"//pretrained/{load(path)['pretrained']}" and is_clean(form)
    if form.startswith("//pretrained/"):
        try:
            export_pretrained_compression_model(form[len("//pretrained/"):], tmp_path / "here" / "out.bin")
        except ExportError as exc:
            assert is_clean(str(exc))
