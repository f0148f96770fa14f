"""Write a release: its folder, existing files, and errors of the system."""

import errno
import os
import shutil
from types import SimpleNamespace

import pytest
from helpers import SIG, load, model_state, same

from audiocraft_export import ExportOptions, export_checkpoint, export_xp
from audiocraft_export.errors import ReleaseError
from audiocraft_export.storage import writer


def test_a_release_folder_has_one_name_only(make_xp, tmp_path):
    make_xp()
    first = export_checkpoint(make_xp() / "checkpoint.th", tmp_path / "new" / ".." / "out")
    assert first.files[0].is_file() and not (tmp_path / "new").exists()
    assert not export_checkpoint(make_xp() / "checkpoint.th", tmp_path / "out").written or first.written


def test_a_release_folder_keeps_its_owner_and_permissions(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    if os.geteuid() == 0:
        os.chown(folder, 1234, 5678)
    folder.chmod(0o2750)
    before = folder.stat()
    export_xp(SIG, dora_dir, ExportOptions(weights="last"))
    after = folder.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_a_symlinked_release_is_replaced_by_files_and_its_target_is_kept(make_xp, dora_dir, tmp_path):
    folder = make_xp() / "export"
    report = export_xp(SIG, dora_dir)
    kept = tmp_path / "blob"
    report.files[0].rename(kept)
    report.files[0].symlink_to(kept)
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert not (folder / "state_dict.bin").is_symlink() and same(load(kept)["best_state"], model_state(3))


@pytest.mark.parametrize(("number", "code", "hint"), [
    (errno.ENOSPC, "disk-full", "free some disk space, or choose another folder"),
    (errno.EDQUOT, "disk-full", "free some disk space, or choose another folder"),
    (errno.EACCES, "write-failed", "check the permissions of the folder, or choose another folder"),
    (errno.EPERM, "write-failed", "check the permissions of the folder, or choose another folder"),
    (errno.EROFS, "write-failed", "choose a folder on a writable file system"),
    (errno.ENAMETOOLONG, "write-failed", "choose a shorter path"),
    (errno.ENOENT, "write-failed", "choose another folder"),  # as in /proc
    (errno.EIO, "write-failed", "")])
def test_an_error_of_the_system_has_the_hint_for_its_cause(make_xp, dora_dir, monkeypatch, number, code, hint):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))
    folder = make_xp() / "export"
    monkeypatch.setattr(writer, "write_durable", fail)
    with pytest.raises(ReleaseError) as error:
        export_xp(SIG, dora_dir)
    assert error.value.args == (code, f"Cannot write the release to {folder}: {os.strerror(number)}", hint)


def test_a_disk_without_enough_space_is_refused_with_both_sizes(make_xp, dora_dir, monkeypatch):
    folder = make_xp()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, free=1000))
    with pytest.raises(ReleaseError, match=f"Not enough disk space in {folder}: need .* kB, 1 kB available") as error:
        export_xp(SIG, dora_dir)
    assert error.value.code == "disk-full" and "free some disk space" in error.value.hint


def test_an_output_path_below_a_file_is_refused(make_xp, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "below", tmp_path / "file" / "far" / "below"):
        with pytest.raises(ReleaseError, match=f"{path}: a parent of this path is not a folder") as error:
            export_checkpoint(make_xp() / "checkpoint.th", path)
        assert error.value.code == "invalid-output"


@pytest.mark.parametrize(("make", "says"), [
    (lambda path: path.touch(), "exists and is not a folder"), (os.mkfifo, "exists and is not a folder"),
    (lambda path: path.symlink_to("nowhere"), "is a dangling symlink")], ids=["file", "pipe", "dangling"])
def test_an_output_path_of_another_kind_is_refused(make_xp, tmp_path, make, says):
    make(tmp_path / "out")
    with pytest.raises(ReleaseError, match=f"Output path {tmp_path / 'out'} {says}") as error:
        export_checkpoint(make_xp() / "checkpoint.th", tmp_path / "out")
    assert error.value.code == "invalid-output"
