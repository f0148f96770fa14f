"""Many at once, without a cluster: journals, tasks of this machine, what stands behind --slurm."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from helpers import run

from audiocraft_export import ExportError, progress
from audiocraft_export.errors import OptionError
from audiocraft_export.jobs.batch import Batch
from audiocraft_export.jobs.local import Local
from audiocraft_export.jobs.message_log import Journal
from audiocraft_export.jobs.slurm import Slurm

DIES = partial(exec, "import os; os.kill(os.getpid(), 9)")
COMMANDS = ("sbatch", "srun", "squeue", "scancel")


def results(jobs, count=1):
    """What comes of jobs, by index; an exception where one is raised."""
    found = {}
    with progress.show_progress() as display, Local(count) as executor:
        for index, result in Batch(jobs, executor, display).results():
            try:
                found[index] = result()
            except Exception as exc:
                found[index] = exc
    return found


# Journals

def test_a_message_is_read_once_and_when_it_is_all_there(tmp_path):
    journal, reader = Journal(tmp_path / "j"), Journal(tmp_path / "j")
    assert list(reader.read()) == []
    journal.write({"a": 1})
    journal.write([2])
    data = journal.path.read_bytes()
    for end in range(len(data)):
        journal.path.write_bytes(data[:end])
        early = Journal(journal.path)
        first = list(early.read())
        journal.path.write_bytes(data)
        assert first + list(early.read()) == [{"a": 1}, [2]]
    assert list(reader.read()) == [{"a": 1}, [2]] and list(reader.read()) == []


def test_bytes_that_are_not_there_yet_are_waited_for(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.write("one")
    data = journal.path.read_bytes()
    journal.path.write_bytes(data + bytes(len(data)))  # as NFS may show the end of a file that grows
    assert list(journal.read()) == ["one"]
    journal.path.write_bytes(data + data)
    assert list(journal.read()) == ["one"]


def test_a_message_that_was_cut_off_costs_no_other(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.write("one")
    with journal.path.open("ab") as file:
        file.write(b"\ngASVBwAAAAA")
    journal.write("two")
    with journal.path.open("ab") as file:
        file.write(b"!!!\n")
    journal.write("three")
    assert list(journal.read()) == ["one", "two", "three"]


def test_a_hole_in_a_journal_is_waited_for_until_nothing_more_comes(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.write("one")
    with journal.path.open("ab") as file:
        file.write(bytes(50))
    journal.write("two")
    assert list(journal.read()) == ["one"] and list(journal.read(last=True)) == ["two"]


def test_a_message_that_is_cut_off_by_a_full_disk_is_an_error(tmp_path):
    code = "import signal, resource, sys; from pathlib import Path; from audiocraft_export.jobs.message_log import Journal\n" \
           "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" \
           "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" \
           "Journal(Path('j')).write('x' * 5000)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True)
    assert "OSError" in result.stderr and list(Journal(tmp_path / "j").read(last=True)) == []


# Tasks

def test_a_job_that_kills_its_process_is_the_only_one_that_fails():
    found = results([partial(int, "0"), DIES, partial(int, "2"), DIES, partial(int, "4")])
    assert {index: value for index, value in found.items() if index % 2 == 0} == {0: 0, 2: 2, 4: 4}
    assert all(re.search(r"Its process has ended: .* \(killed\)\.$", str(found[index])) for index in (1, 3))


def test_who_is_free_takes_the_next_job():
    began = time.monotonic()
    pids = results([partial(time.sleep, 3), *[os.getpid] * 20], count=2)
    assert len({pids[index] for index in range(1, 21)}) == 1 and time.monotonic() - began < 20


def test_an_error_that_cannot_be_pickled_is_still_said():
    fails = partial(exec, "class Own(Exception): pass\nraise Own('not to be pickled')")
    found = results([fails, partial(int, "1")])
    assert type(found[0]) is RuntimeError and str(found[0]) == "Own: not to be pickled" and found[1] == 1


def test_a_task_that_cannot_begin_says_why(tmp_path, monkeypatch):
    (tmp_path / "gone_by_then.py").write_text("def job(): pass")
    monkeypatch.syspath_prepend(tmp_path)
    import gone_by_then
    (tmp_path / "gone_by_then.py").unlink()
    found = results([gone_by_then.job, partial(int, "1")])
    assert all("No module named 'gone_by_then'" in str(found[index]) for index in (0, 1))


def test_a_task_that_is_killed_before_it_begins_is_begun_once_more(tmp_path, monkeypatch):
    kill_first = "import os, pathlib, sys\nflag = pathlib.Path(os.environ['FLAG'])\n" \
                 "if '_submit' in pathlib.Path('/proc/self/cmdline').read_text() and not flag.exists():\n" \
                 "    flag.touch(); os.kill(os.getpid(), 9)\n"
    (tmp_path / "sitecustomize.py").write_text(kill_first)
    monkeypatch.setenv("FLAG", str(tmp_path / "flag"))
    monkeypatch.syspath_prepend(tmp_path)
    assert results([partial(int, "0"), partial(int, "1")]) == {0: 0, 1: 1} and (tmp_path / "flag").exists()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python looks into the current folder first")
def test_modules_of_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", ".")])
    assert results([partial(int, "0")]) == {0: 0}


def test_a_task_whose_parent_is_killed_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", str(tmp_path))
    kill_parent = "import os, pathlib, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\n" \
                  "time.sleep(30)\npathlib.Path(os.environ['HERE'], 'late').touch()"
    began = time.monotonic()
    found = results([partial(exec, kill_parent)])
    assert "Its process has ended" in str(found[0]) and time.monotonic() - began < 20 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_killed", [True, False])
def test_only_of_a_parent_that_was_killed_the_folder_is_removed_by_a_task(tmp_path, is_killed):
    leash = tmp_path / "folder" / "leash"
    leash.parent.mkdir()
    os.mkfifo(leash)
    held = os.open(leash, os.O_RDWR)
    script = "import sys, pathlib; from audiocraft_export.jobs.worker import _end_with; _end_with(pathlib.Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", script, leash])
    time.sleep(1)
    if not is_killed:  # one that ends removes it when all tasks have ended: some may not have read yet what to do
        leash.unlink()
    os.close(held)
    assert process.wait(timeout=10) == -signal.SIGTERM and leash.parent.exists() != is_killed


def test_a_disk_that_takes_nothing_is_said():
    with progress.show_progress() as display, Local(1) as executor:
        shutil.rmtree(executor.folder)
        with pytest.raises(ExportError, match=r"cannot be written \(No such file or directory\): make room there"):
            Batch([partial(int, "0")], executor, display)


def test_a_task_leaves_nothing_and_asks_for_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert results([partial(os.getenv, "CUDA_VISIBLE_DEVICES")]) == {0: ""}
    assert not list(tmp_path.iterdir())


def test_without_a_temporary_folder_it_is_said_to_set_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ExportError, match=r"let \$TMPDIR be one that can be written to"):
        results([partial(int, "1")])


def test_warnings_of_a_task_are_those_of_this_process(caplog):
    results([partial(logging.getLogger("audiocraft_export.x").warning, "careful %s", "now")])
    assert [record.getMessage() for record in caplog.records if record.name == "audiocraft_export.x"] == ["careful now"]


def test_a_task_hears_of_ctrl_c_only_from_this_process():
    blocked, = results([partial(signal.pthread_sigmask, signal.SIG_BLOCK, ())]).values()
    assert signal.SIGINT in blocked and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


# --slurm

@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands of Slurm, which do nothing: there is one."""
    for name in COMMANDS:
        (tmp_path / name).symlink_to(shutil.which("true"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize(("settings", "expected"), [
    ([], {"time": "60", "cpus-per-task": "1", "mem": "4096M"}),
    (["mem_gb=0.5", "cpus=3", "partition=a", "time=1:00:00"],
     {"mem": "512M", "cpus-per-task": "3", "partition": "a", "time": "1:00:00"}),
    (["mem_per_cpu=2G", "qos=low"], {"time": "60", "cpus-per-task": "1", "mem-per-cpu": "2G", "qos": "low"})])
def test_settings_are_options_of_sbatch(commands, tmp_path, settings, expected):
    found = Slurm([*settings, f"folder={tmp_path}/x"], tmp_path)
    assert {name: found._sbatch.get(name) for name in expected} == expected and found.folder.parent == tmp_path / "x"


@pytest.mark.parametrize(("setting", "says"), [
    ("time=", "it takes key=value"), ("mem_gb=much", "much is no positive"), ("mem_gb=nan", "no positive number"),
    ("cpus=1.5", "1.5 is no positive whole"), ("array=1-3", "array is decided by"), ("output=x", "output is decided")])
def test_a_setting_that_is_none_is_said(commands, tmp_path, setting, says):
    with pytest.raises(OptionError, match=says):
        Slurm([setting], tmp_path)


def test_jobs_are_dealt_out_in_chunks(commands, tmp_path):
    jobs = [(index, int) for index in range(7)]
    dealt = [[index for index, _ in part] for part in Slurm([], tmp_path, chunk=3).deal(jobs)]
    assert dealt == [[0, 3, 6], [1, 4], [2, 5]]


def test_where_there_is_no_slurm_that_is_one_sentence(make_xp, tmp_path):
    make_xp()
    result = run("audiocraft_export", "run", "--all", "--slurm", "partition=a", cwd=tmp_path, PATH=str(tmp_path))
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "There is no Slurm here (no sbatch, srun, squeue, scancel on $PATH)" in result.stderr


@pytest.mark.parametrize("argv", [
    ["--chunk", "2", "0123abcd"], ["--bands", "--folder", "x", "0123abcd", "--slurm"], ["--all", "--slurm", "array=3"],
    ["--all", "--chunk", "0", "--slurm"], ["--slurm", "a=b"]])
def test_what_makes_no_sense_with_slurm_is_wrong_usage(make_xp, commands, tmp_path, argv):
    make_xp()
    assert run("audiocraft_export", "run", *argv, cwd=tmp_path).returncode == 2


def test_targets_may_stand_behind_the_settings_of_slurm(make_xp, commands, tmp_path):
    make_xp()
    result = run("audiocraft_export", "run", "--slurm", "time=5", "0123abcd", "mem_gb=1", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("0123abcd would be exported")
