"""Prepare the content of a release before a format encodes it."""

import os

import pytest
from helpers import DIFFUSION, PROCESSOR, SIG, load, model_state, same, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.release.prepare import prepare, prepare_bands


@pytest.mark.parametrize("name", ["3", 3, "mine"])
def test_another_checkpoint_of_the_xp_can_be_chosen(make_xp, dora_dir, name):
    make_xp()
    make_xp(name=f"checkpoint_{name}.th", best_state={"model": model_state(8)})
    report = export_xp(SIG, dora_dir, ExportOptions(checkpoint=name))
    assert same(load(report.files[0])["best_state"], model_state(8))


@pytest.mark.parametrize(("codec", "names"), [
    ("auto", ["state_dict.bin", "compression_state_dict.bin"]), ("none", ["state_dict.bin"])])
def test_a_prepared_release_has_files_and_manifest_and_writes_nothing(make_xp, codec, names):
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/facebook/encodec_32khz")
    folder = make_xp(**{"xp.cfg": cfg})
    prepared = prepare(open_checkpoint(folder / "checkpoint.th"), folder, ExportOptions(codec=codec))
    assert list(prepared.contents) == names and (prepared.codec is None) == (codec == "none")
    assert prepared.manifest.files == [] and [model.checkpoint.sig for model in prepared.models] == [SIG]
    assert [path.name for path in folder.iterdir()] == ["checkpoint.th"]


def test_the_manifest_has_the_commit_of_its_own_experiment_only(make_xp, tmp_path):
    commit = "4ca6074e0e6551045b675b29274420999095ccbe"
    folder, other = make_xp(), make_xp("89abcdef")
    for each in (folder, other):
        (each / ".hydra").mkdir()
        (each / ".hydra" / "hydra.yaml").write_text(f"hydra:\n  runtime:\n    cwd: /d/codes/{commit}\n")
        (each / "code").symlink_to(f"/d/codes/{commit}")
        os.utime(each / "checkpoint.th")  # stored by this run
    checkpoint = open_checkpoint(folder / "checkpoint.th")
    assert prepare(checkpoint, folder, ExportOptions()).manifest.git == {"commit": commit, "dirty": False}
    for elsewhere in (other, tmp_path):
        assert prepare(checkpoint, elsewhere, ExportOptions()).manifest.git is None


def test_each_band_has_its_own_commit(make_xp):
    commits = [f"{index}" * 40 for index in range(2)]
    paths = []
    for index, commit in enumerate(commits):
        cfg = with_cfg(**{**DIFFUSION, "filter": {**DIFFUSION["filter"], "use": True, "n_bands": 2, "idx_band": index}})
        folder = make_xp(f"{index}" * 8, sample_processor=PROCESSOR, **{"xp.cfg": cfg})
        (folder / ".argv.json").write_text("[]")
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "hydra.yaml").write_text(f"hydra:\n  runtime:\n    cwd: /d/codes/{commit}\n")
        (folder / "code").symlink_to(f"/d/codes/{commit}")
        os.utime(folder / "checkpoint.th")
        paths.append(folder / "checkpoint.th")
    manifest = prepare_bands([*map(open_checkpoint, paths)], ExportOptions()).manifest
    assert manifest.git is None and [band["git"]["commit"] for band in manifest.bands] == commits
