"""Commands with closed output, and interrupted commands."""

import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import SIG


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["run", SIG, "--dora-dir", "outputs"]])
def test_a_closed_output_gives_no_traceback(make_xp, tmp_path, args):
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


def test_an_interrupt_stops_all_threads_and_leaves_no_files(make_xp, tmp_path):
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
