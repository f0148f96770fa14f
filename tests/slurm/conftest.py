"""A real Slurm for the tests: the one of this machine, or a temporary single node."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cluster import Cluster, answers, unfit

sys.path.append(str(Path(__file__).parents[1] / "audiocraft"))
collect_ignore = [] if "AUDIOCRAFT_SRC" in os.environ else ["test_audiocraft.py"]
SETUP = Path(__file__).with_name("setup.sh")
CANNOT = 77  # exit code of the setup if Slurm cannot be installed
NONE = "WHY_THERE_IS_NO_SLURM"  # inherited by the workers of pytest-xdist


def pytest_configure(config):
    if hasattr(config, "workerinput") or answers():
        return
    config.slurm_folder = tempfile.mkdtemp(prefix="slurm-")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops all daemons
    made = subprocess.run([SETUP, config.slurm_folder], text=True, capture_output=True)
    if made.returncode == 0:
        os.environ["SLURM_CONF"] = made.stdout.strip()
    elif made.returncode == CANNOT:
        os.environ[NONE] = made.stderr.strip().splitlines()[-1]
    else:
        pytest.exit(f"{SETUP} failed: {made.stderr}", 1)


def pytest_unconfigure(config):
    folder = getattr(config, "slurm_folder", None)
    if folder:
        subprocess.run([SETUP, folder, "stop"], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm():
    """The cluster; jobs that a test leaves running are cancelled."""
    reason = os.environ.get(NONE) or unfit()
    if reason:
        pytest.skip(reason)
    cluster = Cluster()
    yield cluster
    cluster.cancel_all()
