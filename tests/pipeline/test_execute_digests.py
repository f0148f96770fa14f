"""Digests in the manifest: of the weights, and of the whole checkpoint files."""

from hashlib import sha256

import pytest
import torch
from helpers import AUDIOSEAL, DIFFUSION, PROCESSOR, SIG, solver_state, with_cfg

from audiocraft_export import ExportOptions, export_xp, verify
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.errors import CheckpointError, ReleaseError
from audiocraft_export.formats import digest
from audiocraft_export.pipeline import execute, plan
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.pipeline.export import export_bands
from audiocraft_export.release.manifest import Manifest

BOTH = ExportOptions(digest=True, source_digest=True)


def digest_of(path):
    return sha256(path.read_bytes()).hexdigest()


def files(folder):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


@pytest.fixture
def language_model(make_xp):
    """An XP with a compression model."""
    make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    return make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})


def test_the_digests_are_only_made_where_they_are_asked_for(language_model, dora_dir, monkeypatch):
    monkeypatch.setattr(digest, "tensor_digests", None)
    manifest = export_xp(SIG, dora_dir).manifest
    assert manifest.content_digest is None and "sha256" not in manifest.checkpoint


def test_the_manifest_has_the_sha256_of_both_checkpoints(language_model, dora_dir):
    manifest = export_xp(SIG, dora_dir, source_digest=True).manifest
    assert manifest.checkpoint["sha256"] == digest_of(language_model / "checkpoint.th")
    assert manifest.codec["checkpoint"]["sha256"] == digest_of(dora_dir / "xps" / "c0dec000" / "checkpoint.th")


def test_an_exported_compression_model_has_its_sha256_too(language_model, make_xp, dora_dir):
    codec = export_xp("c0dec000", dora_dir).files[0]
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=str(codec))})
    assert export_xp(SIG, dora_dir, source_digest=True).manifest.codec["file"]["sha256"] == digest_of(codec)


def test_each_band_has_the_sha256_of_its_checkpoint(make_xp, tmp_path):
    paths = []
    for index in range(2):
        cfg = with_cfg(**{**DIFFUSION, "filter": {**DIFFUSION["filter"], "use": True, "n_bands": 2, "idx_band": index}})
        xp = make_xp(f"{index}" * 8, sample_processor=PROCESSOR, **{"xp.cfg": cfg})
        paths.append(xp / "checkpoint.th")
    manifest = export_bands([*map(open_checkpoint, paths)], tmp_path / "mbd", BOTH).manifest
    assert [band["checkpoint"]["sha256"] for band in manifest.bands] == [*map(digest_of, paths)]
    there = export_bands([*map(open_checkpoint, paths)], tmp_path / "there",
                         BOTH.replace(format="safetensors", card=False)).manifest
    assert there.content_digest == manifest.content_digest is not None


def test_an_up_to_date_release_gets_the_digests_and_nothing_else_is_written(language_model, dora_dir):
    report = export_xp(SIG, dora_dir)
    before = files(report.folder)
    completed = export_xp(SIG, dora_dir, BOTH)
    after = files(report.folder)
    assert not completed.written and {name for name in after if after[name] != before[name]} == {"export.json"}
    assert Manifest.load(report.folder) == completed.manifest and verify(report.folder).ok
    assert completed.manifest.content_digest and "sha256" in completed.manifest.codec["checkpoint"]
    assert not export_xp(SIG, dora_dir, BOTH).written and files(report.folder) == after
    assert export_xp(SIG, dora_dir).manifest == completed.manifest and files(report.folder) == after


def test_a_release_with_digests_is_the_same_release(language_model, dora_dir, tmp_path):
    one, other = (export_xp(SIG, dora_dir, options, folder=tmp_path / str(index))
                  for index, options in enumerate((ExportOptions(), BOTH)))
    assert one.manifest.files == other.manifest.files and one.manifest.options == other.manifest.options
    assert other.manifest.content_digest == export_xp(SIG, dora_dir, digest=True).manifest.content_digest


def test_a_conversion_keeps_the_digest(language_model, dora_dir, tmp_path):
    report = export_xp(SIG, dora_dir, BOTH)
    there = convert(report.folder, "safetensors", tmp_path / "there", max_shard_size=60).manifest
    assert len(there.files) > 4 and there.content_digest == report.manifest.content_digest
    assert there.checkpoint == report.manifest.checkpoint
    other = convert(export_xp(SIG, dora_dir, folder=tmp_path / "plain").folder, "safetensors", tmp_path / "x").manifest
    assert other.content_digest is None


def test_a_checkpoint_that_changes_while_it_is_hashed_is_refused(make_xp, dora_dir, monkeypatch):
    xp = make_xp()
    made = plan.with_source_digests

    def with_change(*args):
        with open(xp / "checkpoint.th", "ab") as file:
            file.write(b"x")
        return made(*args)

    monkeypatch.setattr(plan, "with_source_digests", with_change)
    with pytest.raises(CheckpointError, match="was modified while it was read"):
        export_xp(SIG, dora_dir, source_digest=True)
    assert not (xp / "export").exists()


def test_a_stale_release_is_made_again_with_the_digests_of_the_new_checkpoint(make_xp, dora_dir):
    xp = make_xp()
    before = export_xp(SIG, dora_dir, BOTH).manifest
    torch.save(solver_state(best_state={"model": {"w": torch.ones(3)}}), xp / "checkpoint.th")
    report = export_xp(SIG, dora_dir, BOTH)
    assert report.written and report.manifest.checkpoint["sha256"] == digest_of(xp / "checkpoint.th")
    assert report.manifest.content_digest != before.content_digest


def test_a_digest_that_cannot_be_written_is_an_error(make_xp, dora_dir, monkeypatch):
    make_xp()
    export_xp(SIG, dora_dir)

    def fail(*args):
        raise ReleaseError("write-failed", "read-only")
    monkeypatch.setattr(execute, "replace_files", fail)
    with pytest.raises(ReleaseError, match="read-only"):
        export_xp(SIG, dora_dir, digest=True)
    assert not export_xp(SIG, dora_dir).written


@pytest.mark.parametrize("sections", [
    {"xp.cfg": with_cfg(**AUDIOSEAL), "best_state": {"model": {
        "generator.w": torch.ones(3), "detector.w": torch.zeros(2), "detector.tied": torch.zeros(2)}}},
    {"xp.cfg": with_cfg(solver="compression", compression_model="encodec")},
    {"xp.cfg": with_cfg(**DIFFUSION), "sample_processor": PROCESSOR}], ids=["audioseal", "codec", "one band"])
def test_a_release_of_any_family_has_the_same_digest_in_both_formats(make_xp, dora_dir, tmp_path, sections):
    make_xp(**sections)
    one = export_xp(SIG, dora_dir, digest=True).manifest
    other = export_xp(SIG, dora_dir, digest=True, format="safetensors", card=False, folder=tmp_path / "x").manifest
    assert one.content_digest == other.content_digest is not None
