"""Convert releases to another format."""

from dataclasses import replace

import pytest
import torch
from formats.safetensors.releases import fitting
from helpers import SIG, command, load, with_cfg
from verification.releases import rewrite

from audiocraft_export import ExportOptions, export_checkpoint, export_xp, verify
from audiocraft_export.errors import OptionError, ReleaseError
from audiocraft_export.pipeline import convert as module
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.manifest import Manifest


def test_a_release_becomes_the_one_of_the_other_format_and_that_one_again(make_xp, dora_dir, tmp_path):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(card=False)).folder
    there = convert(folder, "safetensors", tmp_path / "there")
    assert there.manifest.release_format == "safetensors" and verify(there.folder).ok
    back = convert(there.folder, "audiocraft", tmp_path / "back")
    assert back.files[0].read_bytes() == (folder / "state_dict.bin").read_bytes()
    assert not convert(folder, "audiocraft").written  # the release has the requested format already


def test_an_empty_folder_is_not_the_release_itself(make_xp, dora_dir, tmp_path):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    before = sorted(folder.iterdir())
    for refused in (lambda: convert(folder, "safetensors", ""),
                    lambda: export_checkpoint(folder.parent / "checkpoint.th", "")):
        with pytest.raises(OptionError, match="folder"):
            refused()
    result = command("convert", folder, "--to", "safetensors", "--folder", "", cwd=tmp_path)
    assert result.returncode == 2 and "[invalid-option]" in result.stderr
    assert sorted(folder.iterdir()) == before


def test_scrubbed_values_do_not_come_back(make_xp, dora_dir, tmp_path):
    make_xp(**{"xp.cfg": with_cfg(optim={"lr": 0.003})})
    target, scrubbed = tmp_path / "public", ExportOptions(scrub="optim.*", format="safetensors")
    folder = export_xp(SIG, dora_dir, scrubbed.replace(folder=target)).folder
    before, source = (target / "export.json").read_bytes(), export_xp(SIG, dora_dir).folder
    for to in ("safetensors", "audiocraft"):
        with pytest.raises(ReleaseError, match=r"has a release with scrub=optim\.\*") as refusal:
            convert(source, to, target)
        assert refusal.value.code == "scrub-dropped" and "--scrub" not in refusal.value.hint
    assert (target / "export.json").read_bytes() == before
    assert convert(folder, "audiocraft", target).written and convert(source, "audiocraft", target, force=True).written


@pytest.mark.parametrize("damages", [False, True])
def test_a_release_that_is_replaced_while_it_is_converted_is_not_mixed_up(make_xp, dora_dir, tmp_path, monkeypatch,
                                                                         damages):
    make_xp()
    folder, real = export_xp(SIG, dora_dir).folder, module.verify

    def replace_and_verify(*args, **kwargs):
        export_xp(SIG, dora_dir, ExportOptions(weights="last"))
        if damages:
            (folder / "state_dict.bin").write_bytes(b"")
        return real(*args, **kwargs)
    monkeypatch.setattr(module, "verify", replace_and_verify)
    with pytest.raises(ReleaseError, match="was replaced while it was read") as refusal:
        convert(folder, "safetensors", tmp_path / "there")
    assert refusal.value.code == "file-changed" and not (tmp_path / "there").exists()


@pytest.mark.parametrize("size", [100, "100", "0.1KB"])
def test_the_size_of_shards_is_a_number_of_bytes_or_a_text(make_xp, dora_dir, tmp_path, size):
    make_xp()
    report = convert(export_xp(SIG, dora_dir).folder, "safetensors", tmp_path / "there", max_shard_size=size)
    assert len(report.files) > 2 and report.manifest.options["max_shard_size"] == (100 if size == "100" else size)
    assert not convert(report.folder, "safetensors", max_shard_size=size).written


def test_a_format_of_which_none_comes_back_and_a_damaged_release_are_refused(make_xp, dora_dir, tmp_path):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    with pytest.raises(ReleaseError, match="Cannot convert .* from audiocraft to transformers without loss") as refusal:
        convert(folder, "transformers")
    assert refusal.value.code == "lossy-conversion"
    (folder / "state_dict.bin").write_bytes(b"")
    with pytest.raises(ReleaseError, match="do not match its manifest: state_dict.bin") as refusal:
        convert(folder, "safetensors", tmp_path / "there")
    assert refusal.value.code == "damaged-release"
    with pytest.raises(ReleaseError, match="do not match its manifest"):
        convert(folder, "audiocraft")  # also if there is nothing to convert
    assert not (tmp_path / "there").exists()


def test_a_target_that_is_not_a_release_folder_is_refused_by_name(make_xp, dora_dir, tmp_path):
    xp = make_xp()
    export_xp(SIG, dora_dir)
    for path, says in ((tmp_path / "nowhere", "No such file or folder"), (xp, "Give its release"),
                       (xp / "export" / "state_dict.bin", "is a file, not a release folder. Give"),
                       (xp / "checkpoint.th", "is a file")):
        with pytest.raises(ReleaseError, match=says):
            convert(path, "safetensors")


@pytest.mark.parametrize("forge", [
    lambda folder: rewrite(folder / "state_dict.bin", exported=False),
    lambda folder: rewrite(folder / "state_dict.bin", optimizer={}),
    lambda folder: torch.save({**load(folder / "state_dict.bin"), "best_state": {"w": torch.arange(9.)[1:3]}},
                              folder / "state_dict.bin"),
    lambda folder: change_manifest(folder, tensors=9),
    lambda folder: change_manifest(folder, nonfinite={"x": {"w": 1}}),
    lambda folder: change_manifest(folder, nonfinite={"state_dict.bin": {"best_state.steps": 1}})])
def test_a_release_that_fits_its_manifest_and_is_not_sound_is_refused(make_xp, dora_dir, tmp_path, forge):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    forge(folder)
    fitting(folder)
    problem = str(verify(folder).problems[0]).rstrip(".")
    with pytest.raises(ReleaseError) as refusal:
        convert(folder, "safetensors", tmp_path / "there")
    assert problem in str(refusal.value) and not (tmp_path / "there").exists()


def test_an_unlisted_file_does_not_prevent_a_conversion(make_xp, dora_dir, tmp_path):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    (folder / "compression_state_dict.bin").write_bytes(b"x")  # as a killed conversion may leave it
    assert convert(folder, "safetensors", tmp_path / "there").written and not verify(folder).ok


def test_nan_and_infinity_are_converted_and_counted(make_xp, dora_dir, tmp_path):
    make_xp(best_state={"model": {"w": torch.full((3,), float("nan"))}})
    there = convert(export_xp(SIG, dora_dir).folder, "safetensors", tmp_path / "there")
    assert there.manifest.nonfinite == verify(there.folder).nonfinite == {"model.safetensors": {"w": 3}}


def change_manifest(folder, **changes):
    (folder / "export.json").write_text(replace(Manifest.load(folder), **changes).text)
