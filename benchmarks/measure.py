"""Measure time and memory. Trials alternate, so that other load on the machine affects all of them alike."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def settle():
    """Flush all writes."""
    os.sync()


def seconds(do, *args):
    """Return the duration of a call."""
    began = time.perf_counter()
    do(*args)
    return time.perf_counter() - began


def command(*argv, **options):
    """Return the duration of a command, which must succeed."""
    return seconds(lambda: subprocess.run(argv, check=True, capture_output=True, **options))


def medians(runs, *trials):
    """Run trials alternately and return the median result of each; the first round is a warm-up.

    Args:
        runs: number of counted rounds.
        trials: functions that return a number.
    """
    return [statistics.median(column) for column in _turns(runs, trials)]


def medians_of(runs, *trials):
    """Return medians as `medians` does, for trials that return several numbers."""
    return [[statistics.median(numbers) for numbers in zip(*column)] for column in _turns(runs, trials)]


def _turns(runs, trials):
    """Start each round with another trial: the one after a trial that frees much memory gets it back slowly."""
    results = [[] for _ in trials]
    for turn in range(runs + 1):
        for at in range(turn, turn + len(trials)):
            results[at % len(trials)].append(trials[at % len(trials)]())
    return [column[1:] for column in results]


def first_line(*argv):
    """Return time and peak resident memory of a command on one core until its first output; then kill it."""
    with _on_one_core(*argv) as process:
        began = time.perf_counter()
        if not process.stdout.readline():
            raise RuntimeError(f"{argv} printed nothing")
        taken, peak = time.perf_counter() - began, _peak(process.pid)
        process.kill()
    return taken, peak


def whole(*argv):
    """Return time and peak resident memory of a command on one core; it must succeed."""
    began = time.perf_counter()
    with _on_one_core(*argv) as process:
        peak = max(_peak(process.pid) for _ in process.stdout)
    if process.returncode:
        raise RuntimeError(f"{argv} failed")
    return time.perf_counter() - began, peak


def _on_one_core(*argv):
    return subprocess.Popen(["taskset", "-c", str(min(os.sched_getaffinity(0))), *argv], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"})


def _peak(pid):
    """Return the peak resident memory; `wait4` would include that of the parent."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return max([int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")], default=0)


def memory(setup, code):
    """Return what a call adds to the resident memory of a process at its peak.

    Args:
        setup: Python code that runs before, such as imports.
        code: Python code to measure.

    Returns:
        Anonymous and file-backed bytes.
    """
    script = f"{setup}\nprint('ready', flush=True)\ninput()\n{code}\nprint('done', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        before = peak = _resident(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        while not process.stdout.readline():
            peak = [max(pair) for pair in zip(peak, _resident(process.pid))]
            if process.poll() is not None:
                raise RuntimeError(f"{code} failed")
            time.sleep(0.0005)
        process.communicate(b"\n")
    return [most - least for most, least in zip(peak, before)]


def _resident(pid):
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return [int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile")]
