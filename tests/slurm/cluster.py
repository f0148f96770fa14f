"""A Slurm cluster from the view of its users: `dora launch`, `squeue`, `scancel`."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import warm

PATIENCE = 120  # timeout in seconds of all operations


def answers():
    """Return whether Slurm answers."""
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):  # Slurm is missing, or does not know its own cluster
        return False


def unfit():
    """Return why the installed Slurm cannot run these tests, or None."""
    partitions = [line.split() for line in said("sinfo", "--noheader", "--format=%P %G").splitlines()]
    if not any(name.endswith("*") for name, _ in partitions):
        return "This Slurm has no default partition."
    return None if any("gpu" in gpus for name, gpus in partitions if name.endswith("*")) else \
        "The default partition of this Slurm has no GPUs, and Dora asks for some."


def said(*command):
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()


def until(condition, what, pause=0.05):
    """Wait until a function returns a true value, and return the value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"not in {PATIENCE} s: {what}")


def verify(*args):
    return warm.run("audiocraft_export", "verify", *map(str, args), cwd="/", env=dict(os.environ), timeout=PATIENCE)


class Cluster:
    """The operations of the tests on a cluster, without accounting: a job that `squeue` lacks has ended."""

    def __init__(self):
        partitions = said("sinfo", "--noheader", "--format=%P").split()
        self.partition = next(name.rstrip("*") for name in partitions if name.endswith("*"))
        self.mine = set()

    def config(self, **settings):
        """Return the section `slurm` of a project's configuration."""
        settings = {"gpus": 1, "mem_per_gpu": 1, "cpus_per_gpu": 1, "time": 5, "partition": self.partition, **settings}
        return "slurm: {" + ", ".join(f"{name}: {value}" for name, value in settings.items()) + "}\n"

    def dora(self, *args, cwd, package="proj", **env):
        environ = {name: value for name, value in os.environ.items()
                   if name not in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE", "DORA_MAIN_MODULE", "RANK", "WORLD_SIZE")}
        result = warm.run("dora", "-P", package, *args, cwd=cwd, timeout=PATIENCE,
                          env={**environ, "PYTHONWARNINGS": "ignore", **env})
        self.mine |= {*self.jobs(cwd)}
        return result

    def launch(self, *argv, cwd, **options):
        result = self.dora("launch", "--no_tail", *argv, cwd=cwd, **options)
        assert result.returncode == 0, result.stderr

    def jobs(self, cwd):
        """Return the IDs of all jobs of a project."""
        outputs = Path(cwd, "outputs")
        later = [json.loads(path.read_text())["dependent_job_ids"] for path in outputs.glob("xps/*/job.json")]
        found = {path.name for path in outputs.glob("by_id/*")}.union(*later)
        return sorted(found, key=lambda job: [*map(int, re.findall(r"\d+", job))])

    def states(self, cwd):
        """Return the unfinished jobs of a project with their states and reasons."""
        lines, jobs = said("squeue", "--noheader", "--array", "--format=%i %T %r").splitlines(), self.jobs(cwd)
        found = {job: (state, reason) for job, state, reason in (line.split(None, 2) for line in lines)}
        return {job: found[job] for job in jobs if job in found}

    def finish(self, cwd):
        """Wait until all jobs of a project have ended, and let requeued jobs start after 2 s instead of 2 minutes.

        The delay is necessary, because a node ignores an order that is as old as a revoked one.
        """
        hurried = set()

        def left():
            states = self.states(cwd)
            for job in {job for job, state in states.items() if state == ("PENDING", "BeginTime")} - hurried:
                said("scontrol", "update", f"JobId={job}", "StartTime=now+2")
                hurried.add(job)
            return states
        until(lambda: not left(), f"the jobs in {cwd} end")

    def preempt(self, job):
        """Send the signals that Slurm sends at preemption or at the time limit."""
        said("scancel", "--signal=USR2", job)

    def requeue(self, job):
        """Requeue a job as Slurm does after the loss of a node, without a signal in time."""
        said("scontrol", "requeue", job)
        until(lambda: said("squeue", "--noheader", "--jobs", job, "--format=%T") == "PENDING", "the job is requeued")

    def log(self, cwd):
        """Return the output of all jobs of a project by task."""
        logs = [*Path(cwd).glob("outputs/xps/*/submitit/*_log.*"), *Path(cwd).glob("outputs/arrays/*/*_log.*")]
        return "".join(path.read_text() for path in sorted(logs))

    def cancel_all(self):
        for job in self.mine:
            subprocess.run(["scancel", job], capture_output=True)
