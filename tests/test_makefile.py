"""The Makefile: it lists its targets, and installs for each what it needs."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


def make(*args):
    return subprocess.run(["make", "--no-print-directory", *args], cwd=ROOT, text=True, capture_output=True,
                          check=True).stdout


@pytest.mark.parametrize("args", [(), ("help",)])
def test_make_lists_every_target_with_what_it_does(args):
    shown = dict(re.findall(r"^  make (\S+) +(\S.*\.)$", make(*args), re.MULTILINE))
    assert [*shown] == TARGETS and "clean" in shown
    assert max(map(len, make(*args).splitlines())) <= 120


def test_the_demo_installs_no_package_of_development_and_the_tests_add_them(tmp_path):
    demo, test = (make("-n", target, f"VENV={tmp_path}") for target in ("demo", "test"))
    assert "install -qq -e .\n" in demo and ".[dev]" not in demo
    assert test.startswith(demo.partition("touch")[0]) and "install --quiet -e '.[dev]'\n" in test
    make("-t", str(tmp_path / "installed"), f"VENV={tmp_path}")
    assert "venv" not in make("-n", "demo", f"VENV={tmp_path}").replace(str(tmp_path), "")
    assert " -m venv " not in make("-n", "test", f"VENV={tmp_path}")
