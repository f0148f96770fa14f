"""The files of a release in the safetensors format, and lossless conversion in both directions."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from helpers import SIG, command, model_state, same, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.errors import ReleaseError
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.verification.release import verify

from .releases import OPTIONS, digests, exported, fitting, forged, opened


def test_a_release_is_the_tensors_the_configuration_and_the_manifest(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir, ExportOptions(format="safetensors", card=False, version="1.3.0"))
    assert {*digests(folder)} == {"model.safetensors", "config.yaml", "export.json"}
    tensors, about = opened(folder / "model.safetensors")
    assert same(dict(sorted(tensors.items())), dict(sorted(model_state(3).items())))
    assert {key: about[key] for key in ("format", "sig", "version", "weights")} == {
        "format": "pt", "sig": SIG, "version": "1.3.0", "weights": "best_state"}
    assert (folder / "config.yaml").read_text() == OmegaConf.to_yaml(with_cfg())
    assert json.loads((folder / "export.json").read_text())["options"]["format"] == "safetensors"


def test_the_same_checkpoint_gives_the_same_bytes(make_xp, dora_dir, tmp_path):
    first = digests(exported(make_xp, dora_dir, ExportOptions(format="safetensors", folder=tmp_path / "a")))
    script = ("import sys; from audiocraft_export import *; export_xp(sys.argv[1], sys.argv[2], "
              "ExportOptions(format='safetensors', folder=sys.argv[3]))")
    subprocess.run([sys.executable, "-c", script, SIG, dora_dir, tmp_path / "b"], check=True)
    second = digests(tmp_path / "b")
    assert all(first[name] == second[name] for name in ("model.safetensors", "config.yaml"))


def test_exporting_again_writes_nothing_and_another_format_takes_its_place(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir)
    (folder / "notes.txt").write_text("mine")
    assert not export_xp(SIG, dora_dir, OPTIONS).written
    assert export_xp(SIG, dora_dir).written
    assert {*digests(folder)} == {"state_dict.bin", "export.json", "notes.txt"}


def test_the_command_converts_and_reports_failures(make_xp, dora_dir, tmp_path):
    folder = exported(make_xp, dora_dir, ExportOptions())
    before = digests(folder)
    result = command("convert", folder, "--to", "safetensors", "--folder", "shared", "--json", cwd=tmp_path)
    assert result.returncode == 0 and json.loads(result.stdout)["result"] == "converted", result.stderr
    assert digests(folder) == before
    assert command("convert", tmp_path / "shared", "--to", "audiocraft", cwd=tmp_path).returncode == 0
    assert digests(tmp_path / "shared") == before
    assert "already" in command("convert", folder, "--to", "audiocraft", cwd=tmp_path).stdout
    assert command("convert", folder, "--to", "safetensors", "--max-shard-size", "40", "--folder", "small",
                   cwd=tmp_path).returncode == 0 and (tmp_path / "small" / "model.safetensors.index.json").exists()
    for wrong, says in ((["nowhere", "--to", "safetensors"], "nowhere"), ([folder, "--to", "gguf"], "invalid value"),
                        ([folder, "shared", "--to", "safetensors", "--folder", "x"], "--folder")):
        result = command("convert", *wrong, cwd=tmp_path)
        assert result.returncode in (1, 2) and says in result.stderr and "Traceback" not in result.stderr


def test_inspect_shows_the_contents_of_a_safetensors_file(make_xp, dora_dir, tmp_path):
    folder = exported(make_xp, dora_dir)
    for target in (folder, folder / "model.safetensors"):
        shown = command("inspect", target, "--json", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        found = json.loads(shown.stdout)
        assert found["sig"] == SIG and len(found["tensors"]) == 3 and found["solver"] == "mine"
        assert sum(found["sections"].values()) == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_persons_file_of_the_same_name_is_never_replaced(make_xp, dora_dir, tmp_path, name, nested):
    folder = exported(make_xp, dora_dir, ExportOptions())
    (folder / name).write_text("mine")
    if nested:  # so that files are replaced one by one
        (folder / "notes").mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for make in (lambda: export_xp(SIG, dora_dir, OPTIONS), lambda: convert(folder, "safetensors")):
        with pytest.raises(ReleaseError, match=f"{name} exists and does not belong to a release") as caught:
            make()
        assert caught.value.code == "file-exists"
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ReleaseError, match="exists and does not belong to a release"):
        export_xp(SIG, dora_dir, OPTIONS)


def test_files_of_a_killed_export_without_a_manifest_are_replaced(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir)
    (folder / "export.json").unlink()
    assert export_xp(SIG, dora_dir, OPTIONS).written and verify(folder).ok


def test_a_forged_file_name_is_refused_when_files_are_restored(make_xp, dora_dir, tmp_path):
    from audiocraft_export.formats.safetensors.layout import from_safetensors
    folder = exported(make_xp, dora_dir)
    forged(folder, "model.safetensors",
           lambda header: header["__metadata__"].update(file=str(tmp_path / "evil.bin")))
    with pytest.raises(ExportError, match="evil.bin"):
        from_safetensors(folder, ["model.safetensors", "config.yaml"])


@pytest.mark.parametrize("text", ["3", "2026-01-01", "- a", ""])
def test_a_configuration_that_is_not_a_mapping_is_refused(make_xp, dora_dir, tmp_path, text):
    folder = exported(make_xp, dora_dir)
    (folder / "config.yaml").write_text(text)
    fitting(folder)
    assert not verify(folder).ok and command("verify", folder, cwd=tmp_path).stderr == ""


@pytest.mark.parametrize("counts", [[1], {"w": "many"}, 3])
def test_a_manifest_that_counts_something_else_is_refused(make_xp, dora_dir, tmp_path, counts):
    folder = exported(make_xp, dora_dir)
    manifest = replace(Manifest.load(folder), nonfinite={"model.safetensors": counts})
    (folder / "export.json").write_text(manifest.text)
    with pytest.raises(ExportError, match="export.json is not a valid release manifest"):
        convert(folder, "audiocraft", tmp_path / "out")
