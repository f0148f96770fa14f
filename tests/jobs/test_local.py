"""Run jobs in worker processes on this machine."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import count as count_up
from pathlib import Path

import pytest

from audiocraft_export import progress
from audiocraft_export.jobs import batch, local
from audiocraft_export.jobs.local import run_in_workers

DIES = partial(exec, "import os; os.kill(os.getpid(), 9)")


def results(jobs, count=1):
    """Run jobs, and return their values or exceptions by index."""
    found = {}
    with progress.show_progress() as display:
        for index, result in batch.results(jobs, partial(run_in_workers, count), display):
            try:
                found[index] = result()
            except Exception as exc:
                found[index] = exc
    return found


def test_a_job_that_kills_its_process_is_the_only_one_that_fails():
    found = results([partial(int, "0"), DIES, partial(int, "2"), DIES, partial(int, "4")])
    assert {index: value for index, value in found.items() if index % 2 == 0} == {0: 0, 2: 2, 4: 4}
    for index in (1, 3):
        assert found[index].args == ("worker-died", "The worker process died (killed)",
                                     "retry, with more memory or time if needed")


def test_a_free_worker_takes_the_next_job(tmp_path):
    last = tmp_path / "last"
    wait = partial(exec, f"import os, time\nwhile not os.path.exists({str(last)!r}): time.sleep(0.01)")
    pids = results([wait, *[os.getpid] * 20, partial(Path.touch, last)], count=2)
    assert len({pids[index] for index in range(1, 21)}) == 1


def test_an_error_that_cannot_be_pickled_is_still_shown():
    fails = partial(exec, "class Own(Exception): pass\nraise Own('not to be pickled')")
    found = results([fails, partial(int, "1")])
    assert type(found[0]) is RuntimeError and str(found[0]) == "Own: not to be pickled" and found[1] == 1


def test_a_task_that_cannot_begin_has_a_reason(tmp_path, monkeypatch):
    (tmp_path / "gone_by_then.py").write_text("def job(): pass")
    monkeypatch.syspath_prepend(tmp_path)
    import gone_by_then
    (tmp_path / "gone_by_then.py").unlink()
    found = results([gone_by_then.job, gone_by_then.job, partial(int, "1")])
    assert all("No module named 'gone_by_then'" in str(found[index]) for index in (0, 1)) and found[2] == 1


def test_a_task_that_is_killed_before_it_begins_is_begun_once_more(tmp_path, monkeypatch):
    kill_first = "import os, pathlib, sys\nflag = pathlib.Path(os.environ['FLAG'])\n" \
                 "if 'jobs.worker' in pathlib.Path('/proc/self/cmdline').read_text() and not flag.exists():\n" \
                 "    flag.touch(); os.kill(os.getpid(), 9)\n"
    (tmp_path / "sitecustomize.py").write_text(kill_first)
    monkeypatch.setenv("FLAG", str(tmp_path / "flag"))
    monkeypatch.syspath_prepend(tmp_path)
    assert results([partial(int, "0"), partial(int, "1")]) == {0: 0, 1: 1} and (tmp_path / "flag").exists()


def test_modules_of_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", ".")])
    assert results([partial(int, "0")]) == {0: 0}


def test_a_task_whose_parent_is_killed_ends_and_leaves_nothing(tmp_path):
    kill_parent = f"import os, pathlib, signal, time\n" \
                  f"pathlib.Path({str(tmp_path)!r}, 'pid').write_text(str(os.getpid()))\n" \
                  "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)"
    code = f"from functools import partial; from audiocraft_export.jobs.local import run_in_workers\n" \
           f"for _ in run_in_workers(1, [partial(exec, {kill_parent!r})]): pass"
    (tmp_path / "temporary").mkdir()
    parent = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
                            stdout=subprocess.PIPE, timeout=60)
    assert parent.returncode == -signal.SIGKILL
    worker, end = int((tmp_path / "pid").read_text()), time.monotonic() + 60
    while is_running(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(worker) and not list((tmp_path / "temporary").iterdir())


def is_running(process):
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_task_leaves_nothing_and_asks_for_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert results([partial(os.getenv, "CUDA_VISIBLE_DEVICES")]) == {0: ""}
    assert not list(tmp_path.iterdir())


def test_without_a_temporary_folder_jobs_are_done(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert results([partial(int, "1")]) == {0: 1}


def test_warnings_of_a_task_are_those_of_this_process(caplog):
    results([partial(logging.getLogger("audiocraft_export.x").warning, "careful %s", "now")])
    assert [record.getMessage() for record in caplog.records if record.name == "audiocraft_export.x"] == ["careful now"]


def test_a_task_hears_of_ctrl_c_only_from_this_process():
    blocked, = results([partial(signal.pthread_sigmask, signal.SIG_BLOCK, ())]).values()
    assert signal.SIGINT in blocked and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def fail_starts(monkeypatch, fails):
    """Let process starts fail for which `fails` returns True, by their number."""
    starts, start = count_up(), local.Popen

    def popen(*args, **kwargs):
        if fails(next(starts)):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return start(*args, **kwargs)
    monkeypatch.setattr(local, "Popen", popen)


def test_jobs_of_a_worker_that_cannot_be_started_are_done_by_another(monkeypatch):
    fail_starts(monkeypatch, lambda number: number > 0)
    assert results([partial(int, text) for text in "012345"], count=3) == {number: number for number in range(6)}


def test_where_no_worker_can_be_started_each_job_fails_and_has_a_reason(monkeypatch):
    fail_starts(monkeypatch, lambda number: True)
    found = results([partial(int, text) for text in "012"], count=2)
    assert sorted(found) == [0, 1, 2]
    assert {error.args for error in found.values()} == {
        ("worker-start-failed", "Cannot start a worker process: Too many open files", "use fewer --jobs")}


def test_an_object_that_cannot_be_pickled_fails_one_job():
    ghost = partial(exec, "import sys, types; sys.modules['ghost'] = own = types.ModuleType('ghost')\n"
                          "exec('class Own(Exception): pass', own.__dict__)\nraise own.Own")
    found = results([ghost, lambda: None, partial(int, "2")])
    assert "ghost" in str(found[0]) and "lambda" in str(found[1]) and found[2] == 2


def test_a_worker_without_a_parent_prints_nothing():
    result = subprocess.run([sys.executable, "-c", local.WORKER], input=b"", capture_output=True)
    assert result.returncode == -signal.SIGTERM and result.stderr == b""


def test_a_worker_that_ignores_sigterm_ends_with_its_last_job():
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited
    try:
        result = subprocess.run([sys.executable, "-c", local.WORKER], input=b"", capture_output=True, timeout=30)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert result.returncode == 0 and result.stderr == b""


def test_a_worker_whose_messages_nobody_reads_prints_nothing():
    read, write = os.pipe()
    os.close(read)
    worker = subprocess.Popen([sys.executable, "-c", local.WORKER], stdin=subprocess.PIPE, stdout=write,
                              stderr=subprocess.PIPE)
    os.close(write)
    assert worker.wait(60) == 0 and worker.stderr.read() == b""
    worker.stdin.close()
    worker.stderr.close()


def test_what_a_job_or_the_start_of_python_prints_is_no_message(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(1, b'site')\nprint('customized')\n")
    monkeypatch.syspath_prepend(tmp_path)
    job = "import os, sys; print('printed'); os.system('echo echoed'); assert sys.stdin.read() == ''"
    assert results([partial(exec, job), partial(int, "1")]) == {0: None, 1: 1}


def test_a_job_that_runs_when_the_parent_is_interrupted_ends_and_no_other_starts(tmp_path):
    job = f"import os, time\nopen({str(tmp_path)!r} + f'/{{os.getpid()}}', 'x').close()\ntime.sleep(60)"
    messages = run_in_workers(2, [partial(exec, job)] * 4)
    end = time.monotonic() + 60
    while len([*tmp_path.iterdir()]) < 2 and time.monotonic() < end:
        next(messages)
    messages.close()
    assert time.monotonic() < end and len([*tmp_path.iterdir()]) == 2
    assert not any(is_running(int(path.name)) for path in tmp_path.iterdir())


def test_an_interrupt_while_workers_are_started_waits_for_no_job(monkeypatch, tmp_path):
    submit, started = local.ThreadPoolExecutor.submit, []

    def interrupted(*args):
        started.append(submit(*args))
        raise KeyboardInterrupt
    monkeypatch.setattr(local.ThreadPoolExecutor, "submit", interrupted)
    jobs = [partial(Path.touch, tmp_path / str(number)) for number in range(20)]
    starts, start = [], local.Popen
    monkeypatch.setattr(local, "Popen", lambda *args, **kwargs: starts.append(1) or start(*args, **kwargs))
    with pytest.raises(KeyboardInterrupt):
        results(jobs)
    assert len(starts) <= 2
