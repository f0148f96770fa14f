"""The manifest `export.json`: its values, its validation, and its use to find up-to-date releases."""

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
def test_exporting_again_repairs_missing_damaged_and_stale_releases(make_xp, dora_dir, change):
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
    {"files": [{"name": "a", "bytes": 1 << 63, "sha256": ""}]}])
def test_a_manifest_with_an_invalid_type_is_invalid_even_with_a_right_checksum(make_xp, dora_dir, changes):
    report = export_xp(SIG, dora_dir) if make_xp() else None
    values = {key: value for key, value in {**report.manifest.to_dict(), **changes}.items() if key != "checksum"}
    values["checksum"] = sha256(json.dumps(values).encode()).hexdigest()
    (report.folder / "export.json").write_text(json.dumps(values, indent=2) + "\n")
    with pytest.raises(ReleaseError, match="not a valid release manifest") as error:
        Manifest.load(report.folder)
    assert error.value.code == "invalid-manifest"
    assert Manifest.load_or_none(report.folder) is None


def test_a_manifest_with_keys_of_a_later_version_is_not_called_damaged(make_xp, dora_dir):
    make_xp()
    path = export_xp(SIG, dora_dir).folder / "export.json"
    values = {**json.loads(path.read_text()), "later": 1}
    path.write_text(json.dumps(values, indent=2) + "\n")
    with pytest.raises(ReleaseError, match="not a valid release manifest"):
        Manifest.load(path.parent)
    del values["checksum"]
    path.write_text(json.dumps({**values, "checksum": sha256(json.dumps(values).encode()).hexdigest()}, indent=2))
    with pytest.raises(ReleaseError, match=r"has keys of a later version of audiocraft-export \(later\)") as error:
        Manifest.load(path.parent)
    assert error.value.code == "unknown-format" and error.value.hint == "upgrade audiocraft-export"


def test_a_manifest_that_was_changed_is_not_trusted_and_its_files_are_still_known(make_xp, dora_dir):
    make_xp()
    report = export_xp(SIG, dora_dir)
    assert Manifest.load(report.folder) == report.manifest and report.manifest.is_complete(report.folder)
    path = report.folder / "export.json"
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 3'))
    with pytest.raises(ReleaseError, match="its checksum differs") as error:
        Manifest.load(report.folder)
    assert error.value.code == "invalid-manifest"
    assert Manifest.unverified_files(report.folder) == report.manifest.files
    path.unlink()
    assert Manifest.unverified_files(report.folder) == []


def test_every_flipped_bit_of_a_manifest_is_found(make_xp, dora_dir):
    make_xp()
    path = export_xp(SIG, dora_dir).folder / "export.json"
    data = path.read_bytes()
    with open(path, "r+b", buffering=0) as stream:
        for bit in range(8 * len(data)):
            stream.seek(bit // 8)
            stream.write(bytes([data[bit // 8] ^ 1 << bit % 8]))
            assert Manifest.load_or_none(path.parent) is None, bit
            stream.seek(bit // 8)
            stream.write(data[bit // 8:bit // 8 + 1])
    assert Manifest.load(path.parent).sig == SIG


@pytest.mark.parametrize("change", [
    lambda text: text + "x", lambda text: text + "{}", lambda text: text.replace("{", '{"sig": "0",', 1),
    lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("  ", "\t"), lambda text: "\ufeff" + text,
    lambda text: text.replace('": ', '":'), lambda text: text.replace('"epoch": 2', '"epoch": 2.0'),
    lambda text: text.replace("sig", "\\u0073ig", 1),
    lambda text: json.dumps(json.loads(text), indent=2, sort_keys=True)])
def test_the_json_of_a_manifest_cannot_be_written_in_another_way(make_xp, dora_dir, change):
    make_xp()
    path = export_xp(SIG, dora_dir).folder / "export.json"
    text = path.read_text()
    assert change(text) != text
    path.write_bytes(change(text).encode())
    assert Manifest.load_or_none(path.parent) is None


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999"])
def test_a_manifest_has_only_finite_numbers_even_with_a_right_checksum(make_xp, dora_dir, value):
    make_xp()
    report = export_xp(SIG, dora_dir)
    values = {**json.loads(report.manifest.text), "options": {"x": float(value)}}
    del values["checksum"]
    checksum = sha256(json.dumps(values).encode()).hexdigest()
    (report.folder / "export.json").write_text(json.dumps({**values, "checksum": checksum}, indent=2) + "\n")
    assert Manifest.load_or_none(report.folder) is None


@pytest.mark.parametrize("indent", [None, 0, 4])
def test_the_indentation_of_a_manifest_is_not_part_of_its_checksum(make_xp, dora_dir, indent):
    make_xp()
    report = export_xp(SIG, dora_dir)
    (report.folder / "export.json").write_text(json.dumps(report.manifest.to_dict(), indent=indent))
    assert Manifest.load(report.folder) == report.manifest


def test_a_manifest_that_is_a_dangling_symlink_is_not_called_missing(make_xp, dora_dir):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    (folder / "export.json").unlink()
    with pytest.raises(ReleaseError, match=r"export\.json is missing"):
        Manifest.load(folder)
    (folder / "export.json").symlink_to("elsewhere")
    with pytest.raises(ReleaseError, match=r"export\.json is a dangling symlink"):
        Manifest.load(folder)


def to_format(path, number, *without):
    """Rewrite a manifest in another format, without some keys."""
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


def test_a_manifest_of_a_later_format_is_reported(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    to_format(folder / "export.json", 3)
    with pytest.raises(ReleaseError, match="format 3, which is newer than this audiocraft-export") as error:
        Manifest.load(folder)
    assert error.value.code == "unknown-format"
