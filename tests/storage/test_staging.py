"""Remove the staging folders of dead processes, and nothing else."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import SIG

from audiocraft_export import export_xp
from audiocraft_export.release.owned_files import OwnedFiles
from audiocraft_export.storage import staging
from audiocraft_export.storage.staging import MACHINE, remove_stale

DAY = 24 * 3600


def stage(folder, host=MACHINE, process=1, began=0, age=0):
    """Create a staging folder like an interrupted export of a process."""
    path = folder / f".export-{host}-{process}-{began}-0123abcd"
    path.mkdir(parents=True)
    (path / "state_dict.bin").touch()
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


@pytest.fixture
def gone():
    """The ID of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_staging_folders_of_dead_processes_are_removed(tmp_path, gone):
    dead, recycled = stage(tmp_path, process=gone), stage(tmp_path, process=os.getpid(), began=1)
    remove_stale(OwnedFiles.owns, tmp_path)
    assert not dead.exists() and not recycled.exists()


def test_staging_folders_of_running_processes_and_of_other_machines_are_kept(tmp_path, gone):
    began = int(Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19])
    mine = stage(tmp_path, process=os.getpid(), began=began)
    first, other = stage(tmp_path, process=1), stage(tmp_path, host="elsewhere", process=gone)
    old = stage(tmp_path, host="long_ago", process=gone, age=DAY + 60)
    remove_stale(OwnedFiles.owns, tmp_path)
    assert mine.exists() and first.exists() and other.exists() and not old.exists()


def test_the_age_decides_where_the_system_cannot_tell_whether_a_process_has_ended(tmp_path, monkeypatch, gone):
    monkeypatch.setattr(staging, "is_running", lambda process: None)
    young, old = stage(tmp_path, process=gone), stage(tmp_path, process=gone, began=1, age=DAY + 60)
    remove_stale(OwnedFiles.owns, tmp_path)
    assert young.exists() and not old.exists()


@pytest.mark.parametrize("name", [".export-mine", ".export-", ".exports", ".export-a-b-c-d",
                                  ".export-2024-01-02-backup"])
def test_folders_with_other_names_are_left(tmp_path, name):
    (tmp_path / name).mkdir()
    remove_stale(OwnedFiles.owns, tmp_path)
    assert (tmp_path / name).exists()


def test_leftovers_of_a_killed_export_are_removed_even_if_nothing_is_written(make_xp, dora_dir, gone):
    xp = make_xp()
    export_xp(SIG, dora_dir)
    beside, inside = stage(xp, process=gone), stage(xp / "export", process=gone)
    assert not export_xp(SIG, dora_dir).written
    assert not beside.exists() and not inside.exists()


def test_the_name_of_this_machine_can_stand_in_a_name():
    assert re.fullmatch(r"\w{1,90}", MACHINE) and MACHINE.startswith(re.sub(r"\W+", "_", platform.node()[:64]))


def test_a_file_that_came_while_folders_were_exchanged_is_not_removed_with_the_previous_release(tmp_path, gone):
    left = stage(tmp_path, process=gone)
    (left / "README.md").write_text("mine")
    remove_stale(OwnedFiles.owns, tmp_path)
    assert [path.name for path in left.iterdir()] == ["README.md"]
