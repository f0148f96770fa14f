"""The manifest `export.json`: what it says, when it is believed, and whether a release is up to date by it."""

import json
from hashlib import sha256

import pytest
import torch
from helpers import SIG, load, model_state, same, solver_state, with_cfg

from audiocraft_export import ExportOptions, export_xp, verify
from audiocraft_export.errors import ReleaseError
from audiocraft_export.release.manifest import Manifest


def test_release_folder_holds_the_file_and_the_manifest_and_nothing_else(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "state_dict.bin"]


def test_manifest_is_json_even_with_numbers_that_json_does_not_have(make_xp, dora_dir):
    folder = make_xp(history=[{"valid": {"ce": float("nan"), "acc": float("inf")}}, {"train": {}}, "broken"],
                     **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    export_xp(SIG, dora_dir)
    manifest = json.loads((folder / "export" / "export.json").read_text(), parse_constant=pytest.fail)
    assert manifest["epoch"] == 3 and manifest["best"] == {"metric": None, "epoch": 1, "valid": {}}


def test_exporting_again_writes_nothing(make_xp, dora_dir):
    folder = make_xp() / "export"
    assert export_xp(SIG, dora_dir).written
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}
    report = export_xp(SIG, dora_dir)
    assert not report.written and "already exported" in str(report)
    assert before == {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}


@pytest.mark.parametrize("change", [
    lambda folder, xp: (folder / "state_dict.bin").unlink(),
    lambda folder, xp: (folder / "state_dict.bin").write_bytes(b"x" * (folder / "state_dict.bin").stat().st_size),
    lambda folder, xp: (folder / "export.json").write_text("{}"),
    lambda folder, xp: (folder / "export.json").write_text("[1]"),
    lambda folder, xp: (folder / "export.json").unlink(),
    lambda folder, xp: torch.save(solver_state(best_state={"model": model_state(3)}, history=[]), xp / "checkpoint.th"),
])
def test_exporting_again_mends_what_is_missing_damaged_or_stale(make_xp, dora_dir, change):
    xp = make_xp()
    export_xp(SIG, dora_dir)
    change(xp / "export", xp)
    assert export_xp(SIG, dora_dir).written
    assert same(load(xp / "export" / "state_dict.bin")["best_state"], model_state(3))
    assert not export_xp(SIG, dora_dir).written


@pytest.mark.parametrize("options", [{"weights": "last"}, {"dtype": "float16"}, {"version": "9"}])
def test_other_options_make_another_release(make_xp, dora_dir, options):
    make_xp()
    first = export_xp(SIG, dora_dir)
    second = export_xp(SIG, dora_dir, ExportOptions(**options))
    assert second.written and second.manifest.files != first.manifest.files


@pytest.mark.parametrize("changes", [
    {"sig": 1}, {"solver": []}, {"epoch": "2"}, {"dtypes": []}, {"checkpoint": "x"}, {"codec": []}, {"options": None},
    {"warnings": {}}, {"versions": []}, {"format": 0}, {"format": "1"}, {"weights_epoch": "1"}, {"sig_source": 1},
    {"files": []}, {"bands": {}}, {"bands": [1]},
    {"bands": [{"sig": 1}]}, {"best": []}, {"best": {"metric": None, "epoch": 1}},
    {"best": {"metric": "ce", "epoch": 1, "valid": {}}}, {"best": {"metric": None, "epoch": 1, "valid": {"a": "b"}}},
    {"best": {"metric": None, "epoch": None, "valid": {}}}, {"nonfinite": {"file": 1}},
    {"nonfinite": {"file": {"w": ""}}},
    {"files": [{"name": "a", "bytes": -1, "sha256": ""}]}, {"files": [{"name": 1, "bytes": 1, "sha256": ""}]},
    {"files": [{"name": "a", "bytes": 1, "sha256": ""}] * 2},
    {"files": [{"name": "a", "bytes": 1 << 63, "sha256": ""}]},
    {"no such field": 1}])
def test_a_manifest_with_a_field_of_another_type_is_none_even_with_its_checksum(make_xp, dora_dir, changes):
    report = export_xp(SIG, dora_dir) if make_xp() else None
    values = {key: value for key, value in {**report.manifest.to_dict(), **changes}.items() if key != "checksum"}
    values["checksum"] = sha256(json.dumps(values).encode()).hexdigest()
    (report.folder / "export.json").write_text(json.dumps(values, indent=2) + "\n")
    with pytest.raises(ReleaseError, match="no manifest of this tool"):
        Manifest.load(report.folder)
    assert Manifest.load_or_none(report.folder) is None


def test_a_manifest_that_was_changed_is_not_trusted_and_its_files_are_still_known(make_xp, dora_dir):
    make_xp()
    report = export_xp(SIG, dora_dir)
    assert Manifest.load(report.folder) == report.manifest and report.manifest.is_complete(report.folder)
    path = report.folder / "export.json"
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 3'))
    with pytest.raises(ReleaseError, match="its checksum differs"):
        Manifest.load(report.folder)
    assert Manifest.unverified_files(report.folder) == report.manifest.files
    path.unlink()
    assert Manifest.unverified_files(report.folder) == []


def to_format(path, number, *without):
    """Rewrite a manifest as another format of it would be; some keys are left out."""
    values = {**json.loads(path.read_text()), "format": number}
    values = {name: value for name, value in values.items() if name not in ("checksum", *without)}
    (values["checkpoint"] or {}).pop("identity", None)
    values["checksum"] = sha256(json.dumps(values).encode()).hexdigest()
    path.write_text(json.dumps(values, indent=2) + "\n")


def test_a_manifest_of_format_1_is_read_and_its_release_is_up_to_date(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    to_format(folder / "export.json", 1, "weights_epoch", "sig_source")
    manifest = Manifest.load(folder)
    assert manifest.format == 1 and manifest.weights_epoch is None and verify(folder).ok
    assert not export_xp(SIG, dora_dir).written


def test_a_manifest_of_a_later_format_is_said(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    to_format(folder / "export.json", 3)
    with pytest.raises(ReleaseError, match="format 3 is newer than this audiocraft-export"):
        Manifest.load(folder)
