"""The drop-ins write the same files as audiocraft.utils.export, and refuse models of another kind."""

import pytest
import torch
from helpers import load, model_state, same, solver_state, with_cfg

from audiocraft_export import ExportError, export_encodec, export_lm, export_pretrained_compression_model
from audiocraft_export.release.families.registry import family_by_name

CODEC = "c0dec000"


def marked(solver):
    """Return a configuration with the keys that identify the family of a solver."""
    return with_cfg(solver=solver, **{mark: {} for mark in family_by_name(solver).marks})


@pytest.fixture
def codec(make_xp):
    """Write an XP with a trained compression model."""
    return make_xp(CODEC, **{"best_state": {"model": model_state(6)},
                             "xp.cfg": with_cfg(solver="compression", compression_model="encodec")})


def as_audiocraft(checkpoint):
    """Return the content that audiocraft.utils.export makes of a checkpoint."""
    from omegaconf import OmegaConf
    state = torch.load(checkpoint, weights_only=False)
    best = state["fsdp_best_state"] or state["best_state"]
    return {"best_state": best["model"], "xp.cfg": OmegaConf.to_yaml(state["xp.cfg"]), "version": "unknown",
            "exported": True}


@pytest.mark.parametrize(("function", "solver"), [(export_lm, "musicgen"), (export_encodec, "compression"),
                                                  (export_lm, "mine"), (export_encodec, "mine")])
@pytest.mark.parametrize("fsdp", [{}, {"model": model_state(4)}])
def test_drop_ins_make_the_files_of_audiocraft_and_return_their_path(make_xp, tmp_path, function, solver, fsdp):
    checkpoint = make_xp(fsdp_best_state=fsdp, **{"xp.cfg": marked(solver)}) / "checkpoint.th"
    out = tmp_path / "new" / "folder" / "any name.bin"
    assert function(str(checkpoint), str(out)) == str(out)
    ours, theirs = load(out), as_audiocraft(checkpoint)
    assert list(ours) == list(theirs) and same(ours.pop("best_state"), theirs.pop("best_state")) and ours == theirs
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_drop_in_for_a_pretrained_codec_writes_a_reference_or_embeds_a_file(tmp_path, codec):
    out = tmp_path / "deep" / "compression_state_dict.bin"
    assert export_pretrained_compression_model("facebook/encodec_32khz", out) == out
    assert load(out) == {"pretrained": "facebook/encodec_32khz", "exported": True, "version": "unknown"}
    for name, says in [("", "'' is neither the name of a public model nor a path"),
                       ("//pretrained/facebook/encodec_32khz", "the name that follows //pretrained/ in"),
                       ("/no/such/compression_state_dict.bin", "No such file")]:
        with pytest.raises(ExportError, match=says):
            export_pretrained_compression_model(name, tmp_path / "never.bin")
    exported = export_encodec(codec / "checkpoint.th", tmp_path / "mine.bin")
    export_pretrained_compression_model(str(exported), out)
    assert out.read_bytes() == exported.read_bytes()


def test_drop_ins_refuse_the_other_kind_by_name(make_xp, codec, tmp_path):
    with pytest.raises(ExportError, match="a compression model .solver=compression.. Use export_encodec instead of"):
        export_lm(codec / "checkpoint.th", tmp_path / "out.bin")
    lm = make_xp(**{"xp.cfg": marked("musicgen")}) / "checkpoint.th"
    with pytest.raises(ExportError, match="a language model .solver=musicgen.. Use export_lm instead of"):
        export_encodec(lm, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


def test_drop_ins_leave_an_existing_file_alone_when_they_fail(tmp_path):
    out = tmp_path / "out.bin"
    out.write_text("mine")
    torch.save(solver_state(best_state={}), tmp_path / "checkpoint.th")
    with pytest.raises(ExportError):
        export_lm(tmp_path / "checkpoint.th", out)
    assert out.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("solver", "function", "kind", "right"), [
    ("diffusion", export_lm, "a MultiBand Diffusion model", "export_checkpoint"),
    ("diffusion", export_encodec, "a MultiBand Diffusion model", "export_checkpoint"),
    ("watermarking", export_lm, "a watermarking model", "export_checkpoint"),
    ("watermarking", export_encodec, "a watermarking model", "export_checkpoint"),
    ("compression", export_lm, "a compression model", "export_encodec"),
    ("jasco", export_encodec, "a language model", "export_lm"),
    ("magnet", export_encodec, "a language model", "export_lm")])
def test_a_drop_in_refuses_another_kind_of_model_and_names_the_right_function(make_xp, tmp_path, solver, function,
                                                                                 kind, right):
    checkpoint = make_xp(**{"xp.cfg": marked(solver)}) / "checkpoint.th"
    with pytest.raises(ExportError, match=rf"is {kind} \(solver={solver}\)\. Use {right} instead of") as refusal:
        function(checkpoint, tmp_path / "out.bin")
    assert refusal.value.code == "family-mismatch"
    assert not (tmp_path / "out.bin").exists()
