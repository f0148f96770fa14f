"""`make demo` and `python -m audiocraft_export.demo`: what they print is true, and the commands in it work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import clean, only_xp, run

ROOT = Path(__file__).resolve().parents[2]
SIG = "97d170e1"
INACTIVE = {"PATH": "/usr/bin:/bin"}  # no virtual environment is active
COMMAND = re.compile(r"^  (\S*audiocraft-export .*)$", re.MULTILINE)
NEXT = re.compile(r"^Next, after `cd (\S+)`:$", re.MULTILINE)
DEV = ("pytest", "_pytest", "xdist", "mypy", "ruff", "nox", "build", "transformers", "safetensors", "huggingface_hub",
       "matplotlib", "argcomplete")
BLOCK = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {DEV}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def make(*args, cwd, **env):
    """Run make in another folder, with the environment that runs the tests, which is not active."""
    return subprocess.run(["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), f"VENV={sys.prefix}",
                           "-o", f"{sys.prefix}/installed", *args], cwd=cwd, env=clean({**INACTIVE, **env}),
                          text=True, capture_output=True, timeout=600)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What `make demo` prints, and the folder in which it ran."""
    folder = tmp_path_factory.mktemp("clone")
    result = make("demo", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout, folder


def follow(text, cwd, **env):
    """Run the commands of a story as they are printed, without a virtual environment that is active."""
    folder = NEXT.search(text)
    start = cwd / folder[1] if folder else cwd
    commands = COMMAND.findall(text)
    assert len(commands) == 3
    for command in commands:
        result = subprocess.run(command, shell=True, cwd=start, capture_output=True, text=True,
                                env=clean({**INACTIVE, **env}))
        assert result.returncode == 0, (command, result.stderr)
        assert SIG in result.stdout
    return start


def test_make_demo_prints_a_short_story_without_training_logs(story):
    lines = story[0].splitlines()
    assert len(lines) <= 14 and max(map(len, lines)) <= 120
    assert "dora -P audiocraft_export.demo run export=true" in story[0]
    assert not re.search(r"\[\d\d-\d\d|flashy|INFO|Export:", story[0])


def test_the_sizes_the_ratio_and_the_metrics_of_the_story_are_those_of_the_files(story):
    text, folder = story
    xp = only_xp(folder / "build" / "demo")
    assert xp.name == SIG
    checkpoint = (xp / "checkpoint.th").stat().st_size
    release = sum(path.stat().st_size for path in (xp / "export").iterdir())
    assert f"{checkpoint / 1e6:.2f} MB  build/demo/outputs/xps/{SIG}/checkpoint.th\n" in text
    assert f"{release / 1e3:.0f} kB  build/demo/outputs/xps/{SIG}/export, " in text
    assert f", {checkpoint / release:.1f} times smaller\n" in text
    history = json.loads((xp / "history.json").read_text())
    assert f"{len(history)} epochs, cross entropy {history[0]['valid']['ce']:.3f} to {history[-1]['valid']['ce']:.3f}" \
        in text
    assert "35 tensors, 133,120 parameters" in text


def test_the_first_page_shows_this_story(story):
    page = (ROOT / "docs" / "index.md").read_text()
    shown = re.search(r"^```text\n(Training .*?)^```", page, re.MULTILINE | re.DOTALL)[1]
    mask = re.compile(r"\d+\.\d+|\S*(?=audiocraft-export )")  # values that depend on torch, and the environment
    assert mask.sub("", shown) == mask.sub("", story[0])


def test_the_three_next_commands_work_as_they_are_printed(story):
    text, folder = story
    release = follow(text, folder) / "float16"
    assert sorted(path.name for path in release.iterdir()) == ["export.json", "state_dict.bin"]


def test_the_story_runs_without_the_packages_of_development_and_of_extras(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    blocked = run("pytest", "--version", cwd=tmp_path, PYTHONPATH=path)
    assert blocked.returncode == 1 and "No module named" in blocked.stderr
    result = run("audiocraft_export.demo", cwd=tmp_path, PYTHONPATH=path)
    assert result.returncode == 0, result.stderr
    assert "133,120 parameters" in result.stdout and only_xp(tmp_path / "export-demo").name == SIG


def test_the_next_commands_find_the_demo_where_another_dora_folder_is_set(tmp_path):
    other = {**INACTIVE, "AUDIOCRAFT_DORA_DIR": str(tmp_path / "other")}
    result = run("audiocraft_export.demo", ".", cwd=tmp_path, **other)
    assert result.returncode == 0, result.stderr
    assert "Next:" in result.stdout and "cd " not in result.stdout
    follow(result.stdout, tmp_path, **other)
    again = run("audiocraft_export.demo", ".", cwd=tmp_path, **other)
    assert again.stdout == result.stdout


def test_a_command_that_the_shell_finds_is_printed_by_its_name(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = run("audiocraft_export.demo", cwd=tmp_path, PATH=path)
    assert "\n  audiocraft-export list\n" in result.stdout


def test_a_failed_training_shows_its_log(tmp_path):
    (tmp_path / "outputs").touch()
    result = run("audiocraft_export.demo", ".", cwd=tmp_path)
    assert result.returncode == 1
    assert "outputs" in result.stderr and result.stderr.endswith("error: the training failed\n")
    assert "Next" not in result.stdout
