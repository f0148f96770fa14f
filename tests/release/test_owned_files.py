"""Files that an export may replace or remove: never training checkpoints or files of the user."""

import hashlib
import json

import pytest
from helpers import SIG, command, with_cfg

from audiocraft_export import (
    ExportError,
    ExportOptions,
    export_checkpoint,
    export_lm,
    export_pretrained_compression_model,
    export_xp,
)
from audiocraft_export.release import owned_files
from audiocraft_export.release.owned_files import OwnedFiles, folder_of, is_release_file, is_weights_file


def test_the_name_of_a_file_tells_whether_it_has_weights():
    names = ("state_dict.bin", "generator_0123.pth", "model-00001-of-00002.safetensors", "export.json", "config.yaml")
    assert [*map(is_weights_file, names)] == [True, True, True, False, False]


def test_a_release_is_named_by_its_folder_or_a_file_in_it(tmp_path):
    (tmp_path / "state_dict.bin").touch()
    assert {*map(folder_of, (tmp_path, tmp_path / "state_dict.bin", tmp_path / "missing.bin"))} == {tmp_path}


def test_a_release_never_replaces_its_checkpoint(make_xp, tmp_path):
    checkpoint = make_xp() / "checkpoint.th"
    before = checkpoint.read_bytes()
    (tmp_path / "state_dict.bin").symlink_to(checkpoint)
    for export, says in ((lambda: export_lm(checkpoint, checkpoint), "Refusing to overwrite the training checkpoint"),
                         (lambda: export_checkpoint(checkpoint, tmp_path), "has the training checkpoint state_dict")):
        with pytest.raises(ExportError, match=says):
            export()
    assert checkpoint.read_bytes() == before


def test_nor_of_that_of_its_codec_of_a_band_or_of_one_that_lies_where_a_release_was(make_xp, make_band, dora_dir,
                                                                                   tmp_path):
    cfg = with_cfg(solver="compression", compression_model="encodec")
    codec = make_xp("c0dec000", **{"xp.cfg": cfg}) / "checkpoint.th"
    folder = tmp_path / "release"
    folder.mkdir()
    codec = codec.rename(folder / "compression_state_dict.bin")
    lm = make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=str(codec))}) / "checkpoint.th"
    band = dora_dir / "xps" / make_band(0, 1) / "checkpoint.th"
    band = band.rename(folder / "diffusion_state_dict.bin")
    before = {path: path.read_bytes() for path in (codec, band)}
    result = command("run", "--bands", band, "--folder", folder, cwd=tmp_path)
    assert "has the training checkpoint compression_state_dict.bin" in result.stderr
    held, replaced = "has the training checkpoint compression_state_dict", "overwrite the training checkpoint"
    for export, says in ((lambda: export_checkpoint(lm, folder), held),
                         (lambda: export_checkpoint(codec, folder), held),
                         (lambda: export_pretrained_compression_model(codec, codec), replaced)):
        with pytest.raises(ExportError, match=says):
            export()
    export_checkpoint(lm, folder / "lm", ExportOptions(version="1"))
    old = (folder / "lm" / "compression_state_dict.bin")
    old.write_bytes((make_xp() / "checkpoint.th").read_bytes())
    with pytest.raises(ExportError, match="has the training checkpoint compression_state_dict.bin"):
        export_checkpoint(old, folder / "lm")  # it differs from the manifest, so it must not be removed
    assert old.exists() and before == {path: path.read_bytes() for path in (codec, band)}


def test_the_files_of_a_release_are_not_unpickled_before_it_is_replaced(make_xp, dora_dir, monkeypatch):
    xp = make_xp()
    export_xp(SIG, dora_dir)
    read = []
    monkeypatch.setattr(owned_files, "_is_training_checkpoint", lambda path: bool(read.append(path.name)))
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written and "state_dict.bin" not in read
    (xp / "export" / "state_dict.bin").write_bytes((xp / "checkpoint.th").read_bytes())
    monkeypatch.undo()
    with pytest.raises(ExportError, match=r"has the training checkpoint state_dict\.bin"):
        export_xp(SIG, dora_dir)


def test_another_release_in_the_same_folder_leaves_no_file_of_the_one_before(make_watermark, make_xp, dora_dir,
                                                                           tmp_path):
    folder = tmp_path / "release"
    options = ExportOptions(folder=folder, version="1")
    export_xp(make_watermark("11111111"), dora_dir, options)
    (folder / "notes.yaml").write_text("mine")
    export_xp(make_watermark("22222222"), dora_dir, options.replace(force=True))
    make_xp()
    export_xp(SIG, dora_dir, options.replace(force=True))
    assert {path.name for path in folder.iterdir()} == {"state_dict.bin", "export.json", "notes.yaml"}


def test_a_manifest_cannot_have_files_removed_that_no_release_has(make_xp, dora_dir, tmp_path):
    make_xp()
    folder = dora_dir / "xps" / SIG / "export"
    report = export_xp(SIG, dora_dir)
    manifest = json.loads((folder / "export.json").read_text())
    stale = b"of the release before"
    names = ["mine.th", "../../secret.yaml"]
    manifest["files"] += [{**manifest["files"][0], "name": name} for name in names]
    manifest["files"] += [{"name": "compression_state_dict.bin", "bytes": len(stale),
                           "sha256": hashlib.sha256(stale).hexdigest()}]
    manifest["files"] += [{**manifest["files"][0], "name": name} for name in (5, None, ["a"], "folder.yaml")]
    (folder / "folder.yaml").mkdir()
    (folder / "export.json").write_text(json.dumps(manifest))
    (folder.parents[1] / "secret.yaml").write_text("mine")
    (folder / "compression_state_dict.bin").write_bytes(stale)
    (folder / "mine.th").write_text("mine")
    assert export_xp(SIG, dora_dir).written and report.written
    assert (folder / "mine.th").exists() and (folder.parents[1] / "secret.yaml").exists()
    assert not (folder / "compression_state_dict.bin").exists()


@pytest.mark.parametrize(("name", "is_one"), [
    ("state_dict.bin", True), (f"generator_{SIG}.pth", True), (f"{SIG}.yaml", True), ("other.yaml", False),
    ("model-00001-of-00002.safetensors", True), (f"detector_{SIG}.safetensors.index.json", True), ("model.json", True),
    ("config_3.yaml", True), ("tokenizer.json", True), ("conditioners.safetensors", True), ("config.json", True),
    ("../state_dict.bin", False), ("checkpoint.th", False), ("README.md", False), (None, False)])
def test_a_release_has_files_of_these_names_and_no_others(name, is_one):
    assert is_release_file(name, SIG) == is_one


def test_owned_file_names_do_not_depend_on_the_signature():
    assert OwnedFiles.owns("export.json") and OwnedFiles.owns("other.yaml") and not OwnedFiles.owns("README.md")
