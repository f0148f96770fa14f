"""Summarize a target from Python."""

import shutil

import pytest
import torch
from helpers import SIG, model_state, with_cfg

from audiocraft_export import ExportError, export_xp
from audiocraft_export.inspection.file_summary import EXPERIMENT, RELEASE, TRAINING, FileSummary
from audiocraft_export.inspection.inspect import inspect


def test_an_experiment_is_summarized_by_signature_folder_and_checkpoint(make_xp, dora_dir, monkeypatch):
    folder = make_xp()
    make_xp(name="checkpoint_1.th", history=[{"valid": {"ce": 2.}}])
    found = inspect("0123", dora_dir)
    assert isinstance(found, FileSummary) and (found.kind, found.sig, found.epochs) == (TRAINING, SIG, 2)
    assert found.plan.manifest.weights == "best_state"
    assert inspect("0123", dora_dir, metric="ce").best["epoch"] == 2
    assert inspect("0123", dora_dir, checkpoint=1).epochs == 1
    assert inspect(folder).path == inspect(str(folder / "checkpoint.th")).path == found.path
    monkeypatch.chdir(folder)
    assert inspect("0123").path == inspect(".").path == found.path


def test_the_name_of_a_checkpoint_is_refused_with_a_file_or_a_release(make_xp, dora_dir):
    folder = make_xp()
    make_xp(name="checkpoint_1.th")
    for target in folder / "checkpoint.th", export_xp(SIG, dora_dir).folder:
        with pytest.raises(ExportError, match="checkpoint=1 is the name of a checkpoint"):
            inspect(target, dora_dir, checkpoint=1)


def test_another_checkpoint_is_offered_for_an_experiment_but_not_for_a_file(make_xp, dora_dir):
    folder = make_xp()
    make_xp(name="checkpoint_1.th")
    (folder / "checkpoint.th").write_bytes(b"damaged")
    for target, is_offered in (SIG, True), (folder, True), (folder / "checkpoint.th", False):
        with pytest.raises(ExportError) as info:
            inspect(target, dora_dir)
        assert ("use checkpoint=1" in info.value.hint) is is_offered


def test_an_experiment_without_a_checkpoint_is_summarized(make_xp, dora_dir):
    folder = make_xp()
    export_xp(SIG, dora_dir)
    (folder / "checkpoint.th").unlink()
    assert inspect(SIG, dora_dir).kind == EXPERIMENT


def test_a_release_is_summarized_with_all_of_its_files(make_xp, dora_dir):
    make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    folder = export_xp(SIG, dora_dir).folder
    found, alone = inspect(folder), inspect(folder / "state_dict.bin")
    assert (found.kind, found.sig, found.solver, found.path) == (RELEASE, SIG, "musicgen", folder)
    assert found.nbytes == sum(found.sections.values()) and [*found.sections] == [
        "state_dict.bin", "compression_state_dict.bin"]
    assert len(found.tensors) == 2 * len(alone.tensors) == 6 and alone.path == folder / "state_dict.bin"


def test_values_are_counted_on_request(make_xp, dora_dir):
    make_xp(best_state={"model": {**model_state(), "nan": torch.full((3,), float("nan"))}})
    folder = export_xp(SIG, dora_dir).folder
    assert inspect(folder, values=True).nonfinite == 3 and inspect(folder.parent).nonfinite is None


def test_values_are_those_of_each_tensor_not_of_its_storage(make_xp):
    big = torch.zeros(12)
    big[10] = float("nan")
    views = {"clean": big[:3], "strided": big[:10:2], "dirty": big[5:], "tied": big[5:]}
    found = inspect(make_xp(best_state={"model": views}), values=True)
    assert found.nonfinite == 1
    assert [text for text in found.warnings if "NaN/inf" in text] == [
        "nonfinite-values: best_state.model.dirty: 1 NaN/inf value"]


@pytest.mark.parametrize(("target", "code"), [
    ("a/b", "path-not-found"), ("x.th", "path-not-found"), ("ffff", "experiment-not-found")])
def test_a_target_that_does_not_exist_is_an_error(make_xp, dora_dir, target, code):
    make_xp()
    with pytest.raises(ExportError) as error:
        inspect(target, dora_dir)
    assert error.value.code == code


def test_a_folder_without_an_experiment_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="No checkpoint.th"):
        inspect(tmp_path)


def test_a_summary_is_escaped_in_a_notebook(make_xp, dora_dir):
    make_xp(**{"<script>": {"x": torch.ones(3)}})
    shown = inspect(SIG, dora_dir)._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown
    assert f"<caption>Training checkpoint {SIG}</caption>" in shown and "<th>release</th><td>missing</td>" in shown
    assert "<th>ce</th><td>best 1 in epoch" in shown
    assert "<th>ce</th><td>best 1 in epoch 2</td>" in inspect(SIG, dora_dir, metric="ce")._repr_html_()


def test_the_digest_of_a_release_and_of_its_checkpoint_are_the_same(make_xp, dora_dir):
    folder = make_xp()
    report = export_xp(SIG, dora_dir, digest=True)
    found = [inspect(target, dora_dir, digest=True) for target in (SIG, folder / "checkpoint.th", report.folder,
                                                                   report.files[0])]
    assert {each.content_digest for each in found} == {report.manifest.content_digest}
    assert inspect(SIG, dora_dir).content_digest is inspect(report.folder).content_digest is None


def test_an_export_that_would_release_scrubbed_values_is_refused_in_the_summary(make_xp, dora_dir):
    make_xp()
    export_xp(SIG, dora_dir, scrub=["optim"])
    found = inspect(SIG, dora_dir)
    assert found.plan is None and "would release what was removed there" in found.refused


def test_the_codec_of_a_copied_experiment_is_found_where_the_command_finds_it(make_xp, dora_dir, tmp_path, monkeypatch):
    make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    folder = make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    copy = shutil.copytree(folder, tmp_path / "copies" / SIG)
    monkeypatch.delenv("DORA_PACKAGE", raising=False)
    monkeypatch.setenv("AUDIOCRAFT_DORA_DIR", str(dora_dir))
    monkeypatch.chdir(tmp_path / "copies")
    assert [*inspect(copy).plan.files] == ["state_dict.bin", "compression_state_dict.bin"]
