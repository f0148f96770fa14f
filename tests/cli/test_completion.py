"""What bash offers at the press of the tabulator, on a terminal of its own."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audiocraft_export.cli import main as cli

REGISTER = 'eval "$(register-python-argcomplete audiocraft-export)"'


@pytest.fixture
def shell(tmp_path, make_xp):
    """Types in an interactive bash, and gives what the terminal shows until a text is there."""
    make_xp("9357e12e")
    make_xp("935a0000")
    (tmp_path / "outputs" / "grids" / "sweep").mkdir(parents=True)
    (tmp_path / "releases").mkdir()
    child, terminal = pty.fork()
    if not child:
        os.chdir(tmp_path)
        environ = {name: value for name, value in os.environ.items() if name != "DORA_PACKAGE"}
        path = f"{Path(sys.executable).parent}:{environ['PATH']}"
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"],
                   {**environ, "PATH": path, "TERM": "dumb", "PS1": "$ "})

    def typed(text, until):
        os.write(terminal, text.encode())
        shown, began = "", time.monotonic()
        while until not in shown and time.monotonic() - began < 60:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 1 << 12).decode()
        return shown
    assert "ready" in typed(f'{REGISTER}; echo rea""dy\n', "ready")
    yield typed
    os.close(terminal)
    os.waitpid(child, 0)


@pytest.mark.parametrize(("line", "whole"), [
    ("run 9357", "run 9357e12e "), ("run --grid sw", "run --grid sweep "), ("run --dtype b", "run --dtype bfloat16 "),
    ("inspect --diff 935a", "inspect --diff 935a0000 "), ("verify --against 9357", "verify --against 9357e12e "),
    ("verify rel", "verify releases/"), ("run --dora-dir out", "run --dora-dir outputs/"), ("ins", "inspect "),
    ("list --not", "list --not-exported "), ("convert rel", "convert releases/")])
def test_the_shell_completes(shell, line, whole):
    assert f"audiocraft-export {whole}" in shell(f"audiocraft-export {line}\t", whole)


def test_what_is_registered_is_what_the_documentation_says():
    page = Path(__file__).parents[2] / "docs" / "old-experiments.md"
    assert f"\n{REGISTER}\n" in page.read_text() and REGISTER in cli.EXAMPLES


def test_where_several_fit_all_are_shown(shell):
    shown = shell("audiocraft-export run 935\t\t", "935a0000")
    assert "9357e12e" in shown and "releases" not in shown


def test_no_training_package_is_asked_at_the_press_of_a_key(shell):
    shown = shell("audiocraft-export run -P nowhere 9357\t\x15echo do''ne\n", "done")
    assert "9357e12e" not in shown and "Traceback" not in shown


WITHOUT = """
import sys
sys.modules["argcomplete"] = None  # as if it was not installed
from audiocraft_export.cli import completion, main
main.main(sys.argv[1:])
"""


@pytest.mark.parametrize("env", [{}, {"_ARGCOMPLETE": "1", "COMP_LINE": "audiocraft-export ru", "COMP_POINT": "20"}])
def test_without_argcomplete_all_works_but_the_tabulator(make_xp, tmp_path, env):
    make_xp("9357e12e")
    for argv, says in ((["--version"], "audiocraft-export "), (["list"], "9357e12e"), (["run", "9357"], " exported: ")):
        result = subprocess.run([sys.executable, "-c", WITHOUT, *argv], cwd=tmp_path, text=True, capture_output=True,
                                env={**os.environ, **env})
        assert result.returncode == 0 and says in result.stdout, result.stderr


def test_argcomplete_is_an_extra_that_the_documentation_names():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    required, _, extras = project.partition("[project.optional-dependencies]")
    assert "argcomplete" not in required and 'completion = ["argcomplete' in extras
    page = (Path(__file__).parents[2] / "docs" / "old-experiments.md").read_text()
    assert "audiocraft-export[completion]" in page
