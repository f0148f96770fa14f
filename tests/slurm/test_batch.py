"""`audiocraft-export run --slurm` on a real Slurm: same results as in one process, and a clean interrupt."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from cluster import said, until

from audiocraft_export import export_xp, verify

HEAVY = {"best_state": {"model": {"w": torch.zeros(40 << 20)}}}  # 160 MB, so that the export takes some time
SMALL = ("time=5", "mem_gb=0.5")


@pytest.fixture
def xps(make_xp):
    def make(count, **sections):
        return [make_xp(f"{number:08d}", **sections) for number in range(1, count + 1)]
    return make


def started(*argv, cwd, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-m", "audiocraft_export", "run", *argv], cwd=cwd, **options)


def run(*argv, cwd, code=0):
    process = started(*argv, cwd=cwd, text=True)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code and "Traceback" not in err, out + err
    return out, err


def jobs_in(tmp_path):
    """Return the job array of the only batch in a Dora folder."""
    names = {f"export-{folder.name}" for folder in tmp_path.glob("outputs/export_jobs/*")}
    lines = said("squeue", "--noheader", "--array", "--states=all", "--format=%j %i %T %C %m %l %b").splitlines()
    return [line.split()[1:] for line in lines if line.split()[0] in names]


def states_in(tmp_path):
    return [job[1] for job in jobs_in(tmp_path)]


@pytest.fixture
def full(slurm):
    """Run a job on the whole node, so that other jobs wait until it is cancelled."""
    job = said("sbatch", "--parsable", "--exclusive", "--output=/dev/null", "--wrap=sleep 300")
    until(lambda: said("squeue", "--noheader", f"--jobs={job}", "--format=%T") == "RUNNING", "the node is full")
    yield
    said("scancel", job)


def worker(tmp_path, sig="*", known=()):
    """Wait for a new process that writes a release, and return it."""
    def processes():
        return [int(stage.name.split("-")[2]) for stage in tmp_path.glob(f"outputs/xps/{sig}/.export-*")]
    return until(lambda: next((each for each in processes() if each not in known), None), "an export", pause=0.001)


def kill_task_of(process):
    """Kill the parent of a worker, which ends the worker as well."""
    os.kill(int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)


def test_an_array_prints_the_same_as_one_process_and_leaves_no_files(slurm, xps, make_xp, tmp_path):
    xps(3)
    make_xp("00000004", best_state=...)
    export_xp("00000002", tmp_path / "outputs")
    argv = ["00000001", "00000002", "00000003", "00000004", "nowhere"]
    cluster = run(*argv, "--slurm", *SMALL, cwd=tmp_path, code=1)
    assert all(verify(tmp_path / "outputs" / "xps" / sig / "export").ok for sig in argv[:3])
    for sig in ("00000001", "00000003"):
        for file in (tmp_path / "outputs" / "xps" / sig / "export").iterdir():
            file.unlink()
    alone = run(*argv, cwd=tmp_path, code=1)
    assert cluster[0] == alone[0]
    assert [line for line in cluster[1].splitlines() if " pending" not in line] == alone[1].splitlines()
    assert os.listdir(tmp_path / "outputs") == ["xps"]


def test_all_and_grids_are_exported_by_the_cluster(slurm, xps, tmp_path):
    xps(3)
    grid = tmp_path / "outputs" / "grids" / "sweep"
    grid.mkdir(parents=True)
    for sig in ("00000001", "00000003"):
        (grid / sig).symlink_to(tmp_path / "outputs" / "xps" / sig)
    assert "2 XPs: 2 exported" in run("--grid", "sweep", "--slurm", *SMALL, "--chunk", "2", cwd=tmp_path)[1]
    out, err = run("--all", "--slurm", *SMALL, "--json", cwd=tmp_path)
    assert [json.loads(line)["target"] for line in out.splitlines()] == ["00000001", "00000003", "00000002"]
    assert err.endswith("3 XPs: 1 exported, 2 up to date\n")
    assert "Nothing to do" in run("--all", "--slurm", *SMALL, cwd=tmp_path)[1]


def test_a_task_requests_the_given_resources_and_no_gpu(slurm, full, xps, tmp_path):
    xps(5)
    settings = [f"partition={slurm.partition}", "time=7", "mem_gb=0.5", "cpus=2", "comment=me"]
    process = started("--all", "--slurm", *settings, "--chunk", "2", cwd=tmp_path)
    tasks = until(lambda: jobs_in(tmp_path), "an array")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert [task[1:] for task in tasks] == [["PENDING", "2", "512M", "7:00", "N/A"]] * 3
    array = tasks[0][0].partition("_")[0]
    assert "Comment=me" in said("scontrol", "show", "job", array)
    said("scancel", array)


def test_a_task_that_is_killed_is_one_failed_row_and_the_rest_of_its_chunk_is_done(slurm, xps, tmp_path):
    xps(4, **HEAVY)
    process = started("--all", "--slurm", *SMALL, "--chunk", "4", cwd=tmp_path, text=True)
    os.kill(worker(tmp_path), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1 and err.count("The worker process died (killed); log: ") == 1 and "_log.err" in err
    assert "4 XPs: 3 exported, 1 failed" in err and out.count(" exported:") == 3
    assert run("--all", "--slurm", *SMALL, cwd=tmp_path)[0].startswith("00000001 exported")


def test_a_task_whose_processes_are_all_killed_is_one_failed_row_and_another_task_does_the_rest(slurm, xps, tmp_path):
    xps(4, **HEAVY)
    process = started("--all", "--slurm", *SMALL, "--chunk", "4", cwd=tmp_path, text=True)
    first = worker(tmp_path, "00000001")
    kill_task_of(first)
    kill_task_of(worker(tmp_path, "00000001", known=[first]))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1 and err.count("The worker process died (") == 1 and "task 0: Killed" in err
    assert "4 XPs: 3 exported, 1 failed" in err and out.count(" exported:") == 3


def test_a_task_that_is_killed_once_costs_no_row(slurm, xps, tmp_path):
    xps(3, **HEAVY)
    process = started("--all", "--slurm", *SMALL, "--chunk", "3", cwd=tmp_path, text=True)
    kill_task_of(worker(tmp_path, "00000002"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "3 XPs: " in err, err
    assert out.startswith("00000001 already exported")


def test_a_task_that_is_killed_before_it_begins_costs_no_row(slurm, xps, tmp_path, monkeypatch):
    xps(2)
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, pathlib\nflag = pathlib.Path({str(tmp_path / 'flag')!r})\n"
        "if 'submitit' in pathlib.Path('/proc/self/cmdline').read_text() and not flag.exists():\n"
        "    flag.touch(); os.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"))
    assert "2 exported" in run("--all", "--slurm", *SMALL, "--chunk", "2", cwd=tmp_path)[1]
    assert (tmp_path / "flag").exists()


def test_a_binary_log_is_reported_as_well(slurm, xps, tmp_path, monkeypatch):
    xps(1)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib\nif 'submitit' in pathlib.Path('/proc/self/cmdline').read_text():\n"
        "    os.write(2, b'\\xff an error\\n'); os.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"))
    assert "The worker process died" in run("--all", "--slurm", *SMALL, cwd=tmp_path, code=1)[1]


def test_a_task_that_is_requeued_does_its_work_once_more(slurm, xps, tmp_path):
    xps(2, **HEAVY)
    process = started("--all", "--slurm", *SMALL, "--chunk", "2", cwd=tmp_path, text=True)
    worker(tmp_path)
    (job, *_), = jobs_in(tmp_path)
    slurm.requeue(job)
    said("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "2 exported" in err, out + err
    assert not list(tmp_path.rglob(".export-*"))


def test_cancelled_tasks_fail_and_are_not_retried(slurm, full, xps, tmp_path):
    xps(3)
    process = started("--all", "--slurm", *SMALL, "--chunk", "2", cwd=tmp_path, text=True)
    array = until(lambda: jobs_in(tmp_path), "an array")[0][0].partition("_")[0]
    said("scancel", array)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.count("CANCELLED); log: ") == 3 and "3 XPs: 3 failed" in err


@pytest.mark.parametrize(("answer", "left"), [(b"leave\n", "PENDING"), (b"\n", "PENDING"), (b"\x03", "PENDING"),
                                              (b"cancel\n", "CANCELLED")])
def test_ctrl_c_leaves_the_jobs_or_cancels_them(slurm, full, xps, tmp_path, answer, left):
    xps(2)
    terminal, end = pty.openpty()
    code = f"import os, sys; os.setsid(); os.close(os.open({os.ttyname(end)!r}, os.O_RDWR))\n" \
           f"os.execv(sys.executable, [sys.executable, '-m', 'audiocraft_export', 'run', '--all', '--slurm', 'time=5'])"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdin=end, stdout=end, stderr=end)
    os.close(end)
    shown = b""

    def read(what):
        nonlocal shown
        while what not in shown:
            shown += os.read(terminal, 4096)
    read(b"0 done, 0 failed, 0 running, 2 pending")
    os.write(terminal, b"\x03")
    read(b"[leave/cancel]")
    os.write(terminal, answer)
    with suppress(OSError):
        read(b"never")
    os.close(terminal)
    assert process.wait(60) == 130 and b"Traceback" not in shown
    assert (b"The jobs keep running." if left == "PENDING" else b"Jobs cancelled.") in shown
    until(lambda: {*states_in(tmp_path)} == {left}, left)
    said("scancel", jobs_in(tmp_path)[0][0].partition("_")[0])


def test_jobs_keep_running_if_the_command_is_stopped_without_a_terminal(slurm, xps, tmp_path):
    xps(6, **HEAVY)
    process = started("--all", "--slurm", *SMALL, cwd=tmp_path, text=True, stdin=subprocess.DEVNULL)
    worker(tmp_path)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "The jobs keep running. List them with squeue --name=export-" in err
    until(lambda: {*states_in(tmp_path)} == {"COMPLETED"}, "all are exported")
    assert "Nothing to do" in run("--all", "--slurm", *SMALL, cwd=tmp_path)[1]


@pytest.mark.parametrize(("setting", "says"), [
    ("partition=nowhere", "invalid partition specified: nowhere"), ("time=soon", "Invalid --time specification"),
    ("bogus=1", "unrecognized option '--bogus=1'")])
def test_options_that_slurm_rejects_are_reported_in_one_sentence(slurm, xps, tmp_path, setting, says):
    xps(2)
    out, err = run("--all", "--slurm", setting, cwd=tmp_path, code=1)
    assert out == "" and len(err.splitlines()) == 2 and says in err
    assert os.listdir(tmp_path / "outputs") == ["xps"]


def test_inside_a_job_another_one_is_submitted_as_from_outside(slurm, xps, tmp_path):
    xps(1)
    command = f"{sys.executable} -m audiocraft_export run --all --slurm time=5 mem_gb=0.5"
    said("sbatch", "--wait", "--mem=1G", "--ntasks=1", f"--chdir={tmp_path}", "--output=log", f"--wrap={command}")
    assert "1 exported" in (tmp_path / "log").read_text()


def wrapped(tmp_path, name, script):
    """Wrap a command of Slurm with additional actions; return the $PATH that finds the wrapper first."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script.format(real=shutil.which(name))}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_who_is_stopped_while_sbatch_works_leaves_no_jobs(slurm, full, xps, tmp_path, monkeypatch):
    xps(3)
    monkeypatch.setenv("PATH", wrapped(tmp_path, "sbatch", f'{{real}} "$@"; touch {tmp_path}/submitted; sleep 3'))
    process = started("--all", "--slurm", *SMALL, cwd=tmp_path, text=True)
    until((tmp_path / "submitted").exists, "an array")
    jobs = jobs_in(tmp_path)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and jobs and os.listdir(tmp_path / "outputs") == ["xps"]
    ids = ",".join({job[0].partition("_")[0] for job in jobs})
    until(lambda: not said("squeue", "--noheader", f"--jobs={ids}"), "the jobs are cancelled")


def test_variables_of_the_user_do_not_override_options(slurm, xps, tmp_path, monkeypatch):
    xps(3)
    for name, value in (("SQUEUE_PARTITION", "other"), ("SBATCH_JOB_NAME", "mine"), ("SBATCH_PARTITION", "nowhere"),
                        ("SBATCH_ARRAY_INX", "0-1"), ("SBATCH_OUTPUT", "/nowhere/x"), ("SQUEUE_USERS", "nobody")):
        monkeypatch.setenv(name, value)
    assert "3 exported" in run("--all", "--slurm", f"partition={slurm.partition}", *SMALL, cwd=tmp_path)[1]


@pytest.mark.parametrize("script", ['echo "Do not ask so often!"; exec {real} "$@"', "sleep 1000"])
def test_results_arrive_whatever_squeue_reports(slurm, xps, tmp_path, monkeypatch, script):
    xps(2)
    monkeypatch.setenv("PATH", wrapped(tmp_path, "squeue", script))
    assert "2 exported" in run("--all", "--slurm", *SMALL, cwd=tmp_path)[1]


def test_a_folder_that_slurm_would_rename_is_refused_and_one_of_the_user_s_stays(slurm, xps, tmp_path):
    xps(1)
    out, err = run("--all", "--slurm", *SMALL, f"folder={tmp_path}/50%j", cwd=tmp_path, code=1)
    assert out == "" and len(err.splitlines()) == 2 and "its path contains a % or a line break" in err
    (tmp_path / "mine").mkdir()
    assert "1 exported" in run("--all", "--slurm", *SMALL, f"folder={tmp_path}/mine", cwd=tmp_path)[1]
    assert sorted(os.listdir(tmp_path)) == ["mine", "outputs"] and not os.listdir(tmp_path / "mine")


def test_only_the_user_can_write_files_that_are_unpickled(slurm, full, xps, tmp_path):
    xps(2)
    process = started("--all", "--slurm", *SMALL, cwd=tmp_path, umask=0)
    until(lambda: jobs_in(tmp_path), "an array")
    folder, = tmp_path.glob("outputs/export_jobs/*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "--signal=CONT@1" in "".join(path.read_text() for path in folder.glob("*.sh"))  # the default may kill it
    process.terminate()
    process.communicate(timeout=60)
    said("scancel", jobs_in(tmp_path)[0][0].partition("_")[0])
