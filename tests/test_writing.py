"""Where releases go, what is in the way there, and what the processes before have left."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SIG, load, model_state, same

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_lm, export_xp
from audiocraft_export.staging import HOST, remove_stale

DAY = 24 * 3600


def stage(folder, host=HOST, process=1, began=0, age=0):
    """A staging folder as an export of that process would have left it."""
    path = folder / f".export-{host}-{process}-{began}-0123abcd"
    path.mkdir(parents=True)
    (path / "state_dict.bin").touch()
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_staging_folders_of_processes_that_are_gone_are_removed(tmp_path, gone):
    dead, recycled = stage(tmp_path, process=gone), stage(tmp_path, process=os.getpid(), began=1)
    remove_stale(tmp_path)
    assert not dead.exists() and not recycled.exists()


def test_staging_folders_of_living_processes_and_of_other_machines_are_left(tmp_path, gone):
    began = int(Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19])
    mine = stage(tmp_path, process=os.getpid(), began=began)
    first, other = stage(tmp_path, process=1), stage(tmp_path, host="elsewhere", process=gone)
    old = stage(tmp_path, host="long_ago", process=gone, age=DAY + 60)
    remove_stale(tmp_path)
    assert mine.exists() and first.exists() and other.exists() and not old.exists()


@pytest.mark.parametrize("name", [".export-mine", ".export-", ".exports", ".export-a-b-c-d"])
def test_folders_of_somebody_else_are_left(tmp_path, name):
    (tmp_path / name).mkdir()
    remove_stale(tmp_path)
    assert (tmp_path / name).exists()


def test_what_a_killed_export_has_left_is_removed_even_if_nothing_is_written(make_xp, dora_dir, gone):
    xp = make_xp()
    export_xp(SIG, dora_dir)
    beside, inside = stage(xp, process=gone), stage(xp / "export", process=gone)
    assert not export_xp(SIG, dora_dir).written
    assert not beside.exists() and not inside.exists()


def test_the_name_of_this_machine_can_stand_in_a_name(monkeypatch):
    assert re.fullmatch(r"\w{1,64}", HOST) and HOST[:3] == re.sub(r"\W+", "_", platform.node())[:3]


def test_a_pipe_is_no_checkpoint_and_nobody_waits_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "checkpoint.th")
    with pytest.raises(ExportError, match="no regular file"):
        export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "out")


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_drop_in_writes_where_opening_the_file_would(make_xp, tmp_path, kind):
    xp, out, real = make_xp(), tmp_path / "out.bin", tmp_path / "real" / "real.bin"
    real.parent.mkdir()
    if kind != "dangling":
        real.write_text("of before")
    if kind != "file":
        out.symlink_to(real)
    export_lm(xp / "checkpoint.th", out)
    assert same(load(out)["best_state"], model_state(3)) and out.is_symlink() == (kind != "file")
    assert kind == "file" or same(load(real)["best_state"], model_state(3))
    assert sorted(path.name for path in [*tmp_path.iterdir(), *real.parent.iterdir()]) == [
        "out.bin", "outputs", "real", *(["real.bin"])]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_drop_in_refuses_what_is_no_file(make_xp, tmp_path, make):
    make(tmp_path / "out.bin")
    with pytest.raises(ExportError, match="no file"):
        export_lm(make_xp() / "checkpoint.th", tmp_path / "out.bin")
    assert {path.name for path in tmp_path.iterdir()} == {"out.bin", "outputs"}


def test_the_files_of_others_stay_where_a_release_is_replaced(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    (folder / "samples").mkdir()
    (folder / "README.md").write_text("mine")
    before = folder.stat().st_ino
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert (folder / "README.md").read_text() == "mine" and (folder / "samples").is_dir()
    assert folder.stat().st_ino == before
    assert same(load(folder / "state_dict.bin")["best_state"], model_state(1))


def test_a_release_that_is_a_mere_link_is_replaced_by_files_and_what_it_led_to_stays(make_xp, dora_dir, tmp_path):
    folder = make_xp() / "export"
    report = export_xp(SIG, dora_dir)
    kept = tmp_path / "blob"
    report.files[0].rename(kept)
    report.files[0].symlink_to(kept)
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert not (folder / "state_dict.bin").is_symlink() and same(load(kept)["best_state"], model_state(3))
