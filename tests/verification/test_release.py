"""verify: what is wrong with a release, file by file."""

import json
import shutil

import pytest
import torch
from helpers import SIG, model_state, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_lm, export_xp, verify
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.verification.file import Problem
from audiocraft_export.verification.release import Verification

from .releases import flip, found


def test_a_release_is_what_it_says(release):
    result = verify(release)
    assert result.ok and result.files == ["state_dict.bin", "compression_state_dict.bin"], str(result)
    assert str(release) in str(result)


@pytest.mark.parametrize("name", ["state_dict.bin", "compression_state_dict.bin"])
def test_a_single_file_is_what_it_says_with_and_without_its_manifest(release, tmp_path, name):
    assert verify(release / name).ok
    shutil.copy(release / name, tmp_path / "by another name.pt")
    assert verify(tmp_path / "by another name.pt").ok


def test_a_manifest_alone_is_what_it_says_or_was_changed(release):
    assert verify(release / "export.json").ok
    flip(release / "export.json", b"best_state")
    assert [problem[:2] for problem in found(release / "export.json")] == [("export.json", None)]


def test_a_file_of_a_drop_in_is_what_it_says(make_xp, dora_dir, tmp_path):
    export_lm(make_xp() / "checkpoint.th", tmp_path / "lm.pt")
    assert verify(tmp_path / "lm.pt").ok


def test_a_release_of_each_family_is_what_it_says(make_xp, dora_dir):
    make_xp("11111111", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    built = {name: {} for name in ("schedule", "diffusion_unet", "processor")}
    make_xp("22222222", sample_processor={"scale": torch.ones(2)},
            **{"xp.cfg": with_cfg(solver="diffusion", sample_rate=32000, channels=1, **built)})
    state = {"generator.a": torch.ones(1), "detector.a": torch.ones(2)}
    make_xp("33333333", best_state={"model": state},
            **{"xp.cfg": with_cfg(solver="watermarking", audioseal={}, seanet={}, detector={})})
    make_xp("44444444")
    for sig in ("11111111", "22222222", "33333333", "44444444"):
        report = export_xp(sig, dora_dir, ExportOptions(version="1.3.0"))
        assert verify(report.folder).ok, str(verify(report.folder))
        assert all(verify(path).ok for path in report.files)


def test_damage_in_bytes_that_no_tensor_has_is_found_by_the_sha256(release):
    path = release / "state_dict.bin"
    path.write_bytes(path.read_bytes().replace(b"ZZZZ", b"ZZzZ", 1))
    assert [(file, key, "sha256" in what) for file, key, what in found(release)] == [("state_dict.bin", None, True)]


def test_a_sound_file_of_another_release_is_found_by_the_sha256(release, make_xp, dora_dir):
    other = make_xp("11111111", best_state={"model": model_state(9)})
    shutil.copy(export_xp("11111111", dora_dir).files[0], release / "state_dict.bin")
    assert [problem[:2] for problem in found(release)] == [("state_dict.bin", None), ("export.json", "config_sha256")]
    assert other.exists()


def test_a_missing_file_is_named(release):
    (release / "compression_state_dict.bin").unlink()
    assert found(release) == [("compression_state_dict.bin", None, "is missing")]


def test_a_file_that_would_be_loaded_and_is_not_listed_is_named(make_xp, dora_dir, release):
    (release.parent / "other").mkdir()
    alone = export_xp(SIG, dora_dir, ExportOptions(codec="none", folder=release.parent / "alone")).folder
    shutil.copy(release / "compression_state_dict.bin", alone)
    assert [problem[:2] for problem in found(alone)] == [("compression_state_dict.bin", None)]


def test_a_folder_without_a_manifest_proves_nothing_but_its_files_are_looked_at(release):
    (release / "export.json").unlink()
    result = verify(release)
    assert [problem.file for problem in result.problems] == ["export.json"]
    assert result.files == ["state_dict.bin", "compression_state_dict.bin"]


@pytest.mark.parametrize("change", [
    lambda values: values.update(epoch=3), lambda values: values.pop("time"), lambda values: values.update(more=1),
    lambda values: values["files"].pop(), lambda values: values["files"][0].update(bytes=1)])
def test_a_manifest_that_was_changed_proves_nothing(release, change):
    values = json.loads((release / "export.json").read_text())
    change(values)
    (release / "export.json").write_text(json.dumps(values, indent=2) + "\n")
    assert found(release)[0][0] == "export.json"
    assert Manifest.load_or_none(release) is None


@pytest.mark.parametrize("name", ["tensors", "parameters", "dtypes", "config_sha256"])
def test_a_manifest_that_says_something_else_of_the_weights_is_named(release, name):
    from dataclasses import replace
    manifest = replace(Manifest.load(release), **{name: {"int8": 1} if name == "dtypes" else 7})
    (release / "export.json").write_text(manifest.text)
    assert [problem[:2] for problem in found(release)] == [("export.json", name)]


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="no file or folder"):
        verify(tmp_path / "none")


def test_a_verification_without_problems_is_ok_and_says_so(tmp_path):
    assert str(Verification(tmp_path, [], [])) == f"{tmp_path} is what it says it is."
    problems = [Problem("state_dict.bin", "best_state", "is missing"), Problem("config.yaml", None, "is missing")]
    found = Verification(tmp_path, ["state_dict.bin"], problems)
    assert not found.ok and str(found) == "; ".join(map(str, problems))
