"""Replace a release folder atomically, and keep other files."""

import errno
import os
import signal
import sys

import pytest
from helpers import SIG, load, model_state, run_python, same, with_cfg

from audiocraft_export import ExportError, ExportOptions, convert, export_checkpoint, export_xp, verify
from audiocraft_export.storage import swap, writer


@pytest.mark.parametrize("samples", [True, False])
def test_other_files_stay_when_a_release_is_replaced(make_xp, dora_dir, samples):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    if samples:
        (folder / "samples").mkdir()
    (folder / "README.md").write_text("mine")
    (folder / "link").symlink_to("nowhere")
    before = folder.stat().st_ino, (folder / "README.md").stat().st_ino
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert (folder / "README.md").read_text() == "mine" and (folder / "link").is_symlink()
    assert (folder / "samples").is_dir() == samples == (folder.stat().st_ino == before[0])
    assert (folder / "README.md").stat().st_ino == before[1] and (folder / "README.md").stat().st_nlink == 1
    assert same(load(folder / "state_dict.bin")["best_state"], model_state(1))
    assert not [path.name for path in folder.parent.iterdir() if path.name.startswith(".export-")]


KILLED = """
import os, signal, sys
from pathlib import Path
from audiocraft_export import ExportOptions, convert, export_checkpoint
call = {call}
def kill(path, *args, **kwargs):
    if {name!r} in str((path, *args)) and ".export-" not in str((path, *args)[-1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return call(path, *args, **kwargs)
{call} = kill
if sys.argv[1] == "convert":
    convert(*sys.argv[2:])
else:
    export_checkpoint(sys.argv[1], sys.argv[2], ExportOptions(card=False, format=sys.argv[3]))
"""


@pytest.mark.parametrize(("call", "name"), [
    ("Path.unlink", "state_dict.bin"), ("os.replace", "model.safetensors"), ("os.replace", "export.json")])
def test_an_export_repairs_what_one_that_was_killed_between_two_files_left(make_xp, tmp_path, call, name):
    checkpoint, folder = make_xp() / "checkpoint.th", tmp_path / "release"
    (folder / "notes").mkdir(parents=True)  # a folder with subfolders is not exchanged
    export_checkpoint(checkpoint, folder, card=False)
    assert run_python("-c", KILLED.format(call=call, name=name), checkpoint, folder, "safetensors",
                      cwd=tmp_path).returncode == -signal.SIGKILL
    assert export_checkpoint(checkpoint, folder, card=False, format="safetensors").written
    assert verify(folder).ok and not (folder / "state_dict.bin").exists()


@pytest.mark.parametrize("call", ["Path.unlink", "os.replace"])
@pytest.mark.parametrize("formats", [("audiocraft", "safetensors"), ("safetensors", "audiocraft")], ids=" to ".join)
def test_a_conversion_that_is_killed_between_two_files_leaves_the_weights(make_xp, tmp_path, formats, call):
    folder, (old, new) = tmp_path / "release", formats
    (folder / "notes").mkdir(parents=True)
    export_checkpoint(make_xp() / "checkpoint.th", folder, card=False, format=old)
    assert run_python("-c", KILLED.format(call=call, name="release/"), "convert", folder, new,
                      cwd=tmp_path).returncode == -signal.SIGKILL
    assert convert(folder, new).written and verify(folder).ok


def test_a_release_of_another_epoch_replaces_what_a_killed_export_left(make_xp, tmp_path):
    folder = tmp_path / "release"
    (folder / "notes").mkdir(parents=True)
    export_checkpoint(make_xp() / "checkpoint.th", folder, card=False, format="safetensors")
    assert run_python("-c", KILLED.format(call="os.replace", name="export.json"), make_xp() / "checkpoint.th", folder,
                      "audiocraft", cwd=tmp_path).returncode == -signal.SIGKILL
    checkpoint = make_xp(best_state={"model": model_state(7)}, history=[{}] * 5) / "checkpoint.th"
    assert export_checkpoint(checkpoint, folder, card=False).written and verify(folder).ok


def test_a_compression_model_of_the_user_stays_where_a_release_has_none(make_xp, dora_dir):
    codec = make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    folder = export_xp(SIG, dora_dir).folder
    export_xp(SIG, dora_dir, ExportOptions(codec="none"))
    assert not (folder / "compression_state_dict.bin").exists()
    export_xp(SIG, dora_dir)
    (folder / "compression_state_dict.bin").write_text("mine")
    export_xp(SIG, dora_dir, ExportOptions(codec="none"))
    assert (folder / "compression_state_dict.bin").read_text() == "mine" and codec


@pytest.mark.parametrize("moment", ["writer.replace_folder", "os.link", "swap._exchange"])
def test_a_release_that_comes_in_between_leaves_none_of_its_files_to_another(make_xp, dora_dir, monkeypatch, moment):
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/facebook/encodec_32khz")
    make_xp(**{"xp.cfg": cfg})
    folder = export_xp(SIG, dora_dir, ExportOptions(codec="none")).folder
    (folder / "README.md").write_text("mine")
    module, name = {"writer": writer, "os": os, "swap": swap}[moment.split(".")[0]], moment.split(".")[1]
    function = getattr(module, name)

    def late(*args, **kwargs):
        monkeypatch.setattr(module, name, function)
        assert export_xp(SIG, dora_dir).written
        return function(*args, **kwargs)
    monkeypatch.setattr(module, name, late)
    assert export_xp(SIG, dora_dir, ExportOptions(codec="none", weights="last")).written
    assert sorted(os.listdir(folder)) == ["README.md", "export.json", "state_dict.bin"]
    assert verify(folder).problems == [] and os.listdir(folder.parent).count("export") == 1
    assert not [path for path in os.listdir(folder.parent) if path.startswith(".export-")]


def test_a_file_that_cannot_be_restored_is_kept_and_its_place_is_named(make_xp, dora_dir, monkeypatch):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    (folder / "samples").mkdir()  # so that files are replaced one by one
    before = (folder / "state_dict.bin").read_bytes()
    replace = os.replace

    def fail(source, target):
        if os.path.basename(target) == "export.json" or "previous" in str(source):
            raise OSError(5, "Input/output error")
        replace(source, target)
    monkeypatch.setattr(swap.os, "replace", fail)
    with pytest.raises(ExportError, match="nor restore all of its files: Input/output error") as error:
        export_xp(SIG, dora_dir, ExportOptions(weights="last"))
    monkeypatch.undo()
    kept, = folder.parent.glob(".export-*/previous-release")
    assert str(kept) in error.value.hint and (kept / "state_dict.bin").read_bytes() == before
    export_xp(SIG, dora_dir, ExportOptions(weights="last"))
    assert (kept / "state_dict.bin").read_bytes() == before and verify(folder).ok


@pytest.fixture
def open_files_are_locked(monkeypatch):
    """Files that this process has open can be neither moved nor replaced nor removed, as on Windows."""
    def locked(function):
        def call(*paths, **kwargs):
            opened = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
            if opened & {os.path.realpath(path) for path in paths}:
                raise PermissionError(errno.EACCES, "The process cannot access the file", str(paths[0]))
            return function(*paths, **kwargs)
        return call
    for name in ("replace", "rename", "unlink"):
        monkeypatch.setattr(os, name, locked(getattr(os, name)))
    monkeypatch.setattr(swap, "folder_exchange", lambda: None)


@pytest.mark.skipif(sys.platform != "linux", reason="lists open files in /proc")
def test_a_release_is_converted_in_place_where_no_open_file_can_be_replaced(make_xp, dora_dir, open_files_are_locked):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    before = (folder / "state_dict.bin").read_bytes()
    for to in ("safetensors", "audiocraft"):
        assert convert(folder, to).written and verify(folder).ok
    assert (folder / "state_dict.bin").read_bytes() == before
    assert sorted(os.listdir(folder)) == ["export.json", "state_dict.bin"]
    assert [path.name for path in folder.parent.glob(".export-*")] == []


def test_files_that_were_not_replaced_yet_are_not_called_lost(make_xp, dora_dir, monkeypatch):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    (folder / "samples").mkdir()  # so that the files are replaced one by one
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    replace = os.replace

    def failing(source, target):
        if os.fspath(target) == str(folder / "export.json") and "previous" not in os.fspath(source):
            raise OSError(errno.EIO, "failed")
        replace(source, target)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(ExportError, match="Cannot write the release to .*failed"):
        convert(folder, "safetensors")
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before and verify(folder).ok
    assert [path.name for path in folder.parent.glob(".export-*")] == []
