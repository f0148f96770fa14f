"""Where releases go, what is in the way there, and what the processes before have left."""

import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import SIG, load, model_state, same, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_lm, export_xp, verify
from audiocraft_export.release.owned_files import OwnedFiles
from audiocraft_export.storage import swap, writer
from audiocraft_export.storage.staging import MACHINE, remove_stale

DAY = 24 * 3600


def stage(folder, host=MACHINE, process=1, began=0, age=0):
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
    remove_stale(OwnedFiles.owns, tmp_path)
    assert not dead.exists() and not recycled.exists()


def test_staging_folders_of_living_processes_and_of_other_machines_are_left(tmp_path, gone):
    began = int(Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19])
    mine = stage(tmp_path, process=os.getpid(), began=began)
    first, other = stage(tmp_path, process=1), stage(tmp_path, host="elsewhere", process=gone)
    old = stage(tmp_path, host="long_ago", process=gone, age=DAY + 60)
    remove_stale(OwnedFiles.owns, tmp_path)
    assert mine.exists() and first.exists() and other.exists() and not old.exists()


@pytest.mark.parametrize("name", [".export-mine", ".export-", ".exports", ".export-a-b-c-d",
                                  ".export-2024-01-02-backup"])
def test_folders_of_somebody_else_are_left(tmp_path, name):
    (tmp_path / name).mkdir()
    remove_stale(OwnedFiles.owns, tmp_path)
    assert (tmp_path / name).exists()


def test_what_a_killed_export_has_left_is_removed_even_if_nothing_is_written(make_xp, dora_dir, gone):
    xp = make_xp()
    export_xp(SIG, dora_dir)
    beside, inside = stage(xp, process=gone), stage(xp / "export", process=gone)
    assert not export_xp(SIG, dora_dir).written
    assert not beside.exists() and not inside.exists()


def test_the_name_of_this_machine_can_stand_in_a_name():
    assert re.fullmatch(r"\w{1,90}", MACHINE) and MACHINE.startswith(re.sub(r"\W+", "_", platform.node()[:64]))


def test_a_pipe_is_no_checkpoint_and_nobody_waits_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "checkpoint.th")
    with pytest.raises(ExportError, match="no regular file"):
        export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "out")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_drop_in_writes_where_opening_the_file_would(make_xp, tmp_path, kind):
    xp, out, real = make_xp(), tmp_path / "out.bin", tmp_path / "real" / "real.bin"
    real.parent.mkdir()
    real.write_text("of before")
    real.chmod(0o640)
    if kind == "file":
        real.rename(out)
    else:
        out.symlink_to(real)
    export_lm(xp / "checkpoint.th", out)
    assert same(load(out)["best_state"], model_state(3)) and out.is_symlink() == (kind == "link")
    assert out.stat().st_mode & 0o777 == 0o640
    assert len([*tmp_path.iterdir(), *real.parent.iterdir()]) == (3 if kind == "file" else 4)


def test_a_drop_in_makes_nothing_behind_a_link_to_nothing(make_xp, tmp_path):
    (tmp_path / "out.bin").symlink_to(tmp_path / "unmounted" / "out.bin")
    with pytest.raises(ExportError, match="link to nothing"):
        export_lm(make_xp() / "checkpoint.th", tmp_path / "out.bin")
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("way", ["{}/checkpoint.th", "{}/new/../checkpoint.th", "{}/../0123abcd/checkpoint.th",
                                 "{}/link"])
def test_a_training_checkpoint_is_never_replaced_by_a_release(make_xp, tmp_path, way):
    xp, other = make_xp(), make_xp("9357e12e")
    for folder in (xp, other):
        (folder / "link").symlink_to(folder / "checkpoint.th")
        before = (folder / "checkpoint.th").read_bytes()
        with pytest.raises(ExportError, match="take the place of the training checkpoint"):
            export_lm(xp / "checkpoint.th", way.format(folder).replace("0123abcd", folder.name))
        (folder / "checkpoint.th").rename(folder / "state_dict.bin")
        with pytest.raises(ExportError, match="take the place of the training checkpoint"):
            export_checkpoint(make_xp("11111111") / "checkpoint.th", f"{folder}/new/..")
        (folder / "state_dict.bin").rename(folder / "checkpoint.th")
        assert (folder / "checkpoint.th").read_bytes() == before


def test_a_release_folder_has_one_name_only(make_xp, tmp_path):
    make_xp()
    first = export_checkpoint(make_xp() / "checkpoint.th", tmp_path / "new" / ".." / "out")
    assert first.files[0].is_file() and not (tmp_path / "new").exists()
    assert not export_checkpoint(make_xp() / "checkpoint.th", tmp_path / "out").written or first.written


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_drop_in_refuses_what_is_no_file(make_xp, tmp_path, make):
    make(tmp_path / "out.bin")
    with pytest.raises(ExportError, match="no file"):
        export_lm(make_xp() / "checkpoint.th", tmp_path / "out.bin")
    assert {path.name for path in tmp_path.iterdir()} == {"out.bin", "outputs"}


@pytest.mark.parametrize("samples", [True, False])
def test_the_files_of_others_stay_where_a_release_is_replaced(make_xp, dora_dir, samples):
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


def test_a_file_that_came_while_folders_were_exchanged_is_not_removed_with_the_former_release(tmp_path, gone):
    left = stage(tmp_path, process=gone)
    (left / "README.md").write_text("mine")
    remove_stale(OwnedFiles.owns, tmp_path)
    assert [path.name for path in left.iterdir()] == ["README.md"]


def test_a_compression_model_of_the_user_stays_where_a_release_has_none(make_xp, dora_dir):
    codec = make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression")})
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


def test_a_release_that_is_a_mere_link_is_replaced_by_files_and_what_it_led_to_stays(make_xp, dora_dir, tmp_path):
    folder = make_xp() / "export"
    report = export_xp(SIG, dora_dir)
    kept = tmp_path / "blob"
    report.files[0].rename(kept)
    report.files[0].symlink_to(kept)
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert not (folder / "state_dict.bin").is_symlink() and same(load(kept)["best_state"], model_state(3))


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["run", SIG, "--dora-dir", "outputs"]])
def test_output_that_nobody_reads_is_no_traceback(make_xp, tmp_path, args):
    make_xp()
    script = f"'{sys.executable}' -m audiocraft_export {' '.join(args)} | true; echo ${{PIPESTATUS[0]}} >&2"
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert result.stderr.strip() in ("0", "1")


def test_output_that_cannot_be_written_is_one_sentence(make_xp, tmp_path):
    make_xp()
    with open("/dev/full", "w") as full:
        result = subprocess.run([sys.executable, "-m", "audiocraft_export", "run", SIG, "--dora-dir", "outputs"],
                                cwd=tmp_path, text=True, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "No space left" in result.stderr


def test_an_interrupt_stops_what_threads_write_and_leaves_nothing(make_xp, tmp_path):
    big = {"model": {f"w{i}": torch.randn(1 << 20) for i in range(40)}}
    for sig in ("11111111", "22222222"):
        make_xp(sig, best_state=big)
    process = subprocess.Popen([sys.executable, "-m", "audiocraft_export", "run", "11111111", "22222222", "--jobs", "2",
                                "--dora-dir", "outputs", "--verify", "none"], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not list(tmp_path.glob("outputs/xps/*/.export-*")):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (143, 0) and "Traceback" not in err
    assert not list(tmp_path.rglob(".export-*"))
