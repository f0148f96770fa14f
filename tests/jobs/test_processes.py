"""Export in several processes: signals, killed workers, results."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from helpers import run_python


def many(make_xp, count=3):
    sigs = [str(number) * 8 for number in range(1, count + 1)]
    for sig in sigs:
        make_xp(sig)
    return sigs


def test_several_processes_give_the_same_releases_as_one(make_xp, tmp_path):
    sigs = many(make_xp)
    reports = []
    for jobs in ("1", "3"):
        folder = tmp_path / jobs
        result = run_python("-m", "audiocraft_export", "run", *sigs, "99999999", "--jobs", jobs, "--json",
                     "--folder", str(folder), cwd=tmp_path)
        assert result.returncode == 1 and "4 XPs: 3 exported, 1 failed" in result.stderr
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        reports.append([(line["target"], line.get("manifest", {}).get("files"), line.get("error")) for line in lines])
    assert reports[0] == reports[1] and [report[0] for report in reports[0]] == [*sigs, "99999999"]


def test_warnings_of_other_processes_come_to_the_log_of_the_first(make_xp, tmp_path):
    for sig in many(make_xp, 2):
        make_xp(sig, history=[])
    result = run_python("-m", "audiocraft_export", "run", "11111111", "22222222", "--jobs", "2", cwd=tmp_path)
    assert result.returncode == 0
    for sig in ("11111111", "22222222"):
        assert f"warning[missing-history]: {sig}: the checkpoint was stored before the first epoch" in result.stderr


def stages(root):
    """Return the staging folders, tolerating that they disappear meanwhile."""
    return list(root.glob("outputs/xps/*/.export-*"))


def interrupted(make_xp, tmp_path, *more):
    """Start two exports, stop all processes in the middle of the work until `go_on`, and return them."""
    for sig in ("11111111", "22222222"):
        make_xp(sig, best_state={"model": {f"w{index}": torch.zeros(1 << 20) for index in range(20)}})
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-m", "audiocraft_export", "run", "11111111", "22222222", *more,
                                    "--jobs", "2"], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        while process.poll() is None and len(stages(tmp_path)) < 2:
            time.sleep(0.001)
        workers = {int(path.name.split("-")[2]) for path in stages(tmp_path)}
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
        while not all(stands_still(worker) for worker in workers):
            time.sleep(0.001)
        if len(stages(tmp_path)) == len(workers) == 2:
            return process, workers
        with suppress(ProcessLookupError):  # too late: one process has finished
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        for folder in [*tmp_path.glob("outputs/xps/*/export"), *stages(tmp_path)]:
            shutil.rmtree(folder)
    raise AssertionError("These exports are finished too soon.")


def stands_still(worker):
    """Return whether a process is stopped or has ended."""
    try:
        return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] in "TZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def go_on(process):
    os.killpg(process.pid, signal.SIGCONT)


def gone(processes):
    end = time.monotonic() + 60
    while any(Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_all_processes_and_leaves_nothing(make_xp, tmp_path, number, code):
    process, workers = interrupted(make_xp, tmp_path)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    go_on(process)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err
    assert gone(workers) and not list(tmp_path.rglob(".export-*"))


def test_a_killed_process_costs_one_export_and_is_one_error(make_xp, tmp_path):
    process, workers = interrupted(make_xp, tmp_path, make_xp("33333333").name)
    os.kill(min(workers), signal.SIGKILL)
    go_on(process)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.count("The worker process died (killed)") == 1 and "Traceback" not in err
    assert "3 XPs: 2 exported, 1 failed" in err and gone(workers)


def test_no_process_outlives_the_first(make_xp, tmp_path):
    process, workers = interrupted(make_xp, tmp_path)
    process.kill()
    go_on(process)
    process.communicate(timeout=60)
    assert len(workers) == 2 and gone(workers) and not list(tmp_path.rglob(".export-*"))
