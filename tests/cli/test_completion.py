"""Completion in real shells: bash and zsh on a pseudo-terminal, and fish."""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from audiocraft_export.cli import main as cli

REGISTER = 'eval "$(register-python-argcomplete audiocraft-export)"'
FISH = "register-python-argcomplete --shell fish audiocraft-export | source"
SHELLS = {  # an interactive shell without the files of the user, and the line that registers completion
    "bash": (["bash", "--norc", "--noprofile", "-i"], REGISTER),
    "zsh": (["zsh", "-f", "-i"], f"autoload -U compinit; compinit -D; {REGISTER}"),
}


def environment():
    environ = {name: value for name, value in os.environ.items() if name != "DORA_PACKAGE"}
    return {**environ, "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}", "TERM": "dumb", "PS1": "$ "}


def require(shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed; .ci/run installs it")


@pytest.fixture
def folder(tmp_path, make_xp):
    """Write a folder with two experiments, a grid and another folder."""
    (make_xp("9357e12e") / ".argv.json").write_text('["dim=32", "x=a:b"]')
    make_xp("9357e12e", "checkpoint_10.th")
    make_xp("935a0000")
    (tmp_path / "outputs" / "grids" / "sweep").mkdir(parents=True)
    (tmp_path / "releases").mkdir()
    return tmp_path


@pytest.fixture(params=SHELLS)
def shell(request, folder):
    """Type into an interactive shell, and return what the terminal shows up to a string."""
    require(request.param)
    argv, register = SHELLS[request.param]
    child, terminal = pty.fork()
    if not child:
        os.chdir(folder)
        os.execvpe(argv[0], argv, environment())
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))

    def typed(text, until):
        os.write(terminal, text.encode())
        shown, began = "", time.monotonic()
        while until not in shown and time.monotonic() - began < 60:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 1 << 12).decode()
        return shown
    assert "ready" in typed(f'{register}; echo rea""dy\n', "ready")
    yield typed
    os.close(terminal)
    os.waitpid(child, 0)


LINES = [
    ("run 9357", "run 9357e12e "), ("run --grid sw", "run --grid sweep "), ("run --dtype b", "run --dtype bfloat16 "),
    ("inspect --diff 935a", "inspect --diff 935a0000 "), ("verify --against 9357", "verify --against 9357e12e "),
    ("run 9357 --checkpoint 1", "run 9357 --checkpoint 10 "), ("run 9357 --weights mo", "run 9357 --weights model "),
    ("verify rel", "verify releases/"), ("run --dora-dir out", "run --dora-dir outputs/"), ("ins", "inspect "),
    ("list --not", "list --not-exported "), ("convert rel", "convert releases/"),
    ("explain ambi", "explain ambiguous-signature ")]


@pytest.mark.parametrize(("line", "whole"), LINES)
def test_the_shell_completes(shell, line, whole):
    assert f"audiocraft-export {whole}" in shell(f"audiocraft-export {line}\t", whole)


def fish(folder, line):
    """Return the completions that fish finds for a command line, with descriptions."""
    require("fish")
    script = f"{FISH}; complete -C 'audiocraft-export {line}'"
    result = subprocess.run(["fish", "--no-config", "-c", script], cwd=folder, env=environment(), text=True,
                            capture_output=True, check=True)
    assert not result.stderr
    return dict((*each.split("\t"), "")[:2] for each in result.stdout.splitlines())


@pytest.mark.parametrize(("line", "whole"), LINES)
def test_fish_completes(folder, line, whole):
    assert [*fish(folder, line)] == [whole.split()[-1]]


def test_fish_shows_what_signatures_are(folder):
    assert fish(folder, "run 93") == {"9357e12e": "dim=32 x=a:b", "935a0000": ""}


@pytest.mark.parametrize("shell", ["zsh"], indirect=True)
def test_zsh_shows_what_signatures_and_weights_are(shell):
    assert re.search(r"9357e12e +-- dim=32 x=a:b", shell("audiocraft-export run 93\t\t", "935a0000"))
    assert re.search(r"ema +-- latest average", shell("\x15audiocraft-export run --weights \t\t", "last "))


def test_completion_is_registered_as_documented():
    page = (Path(__file__).parents[2] / "docs" / "old-experiments.md").read_text()
    assert f"\n{REGISTER}\n" in page and f"`{FISH}`" in page and REGISTER in cli.EXAMPLES and FISH in cli.EXAMPLES


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


def test_argcomplete_is_an_optional_package_that_the_documentation_names():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    required, _, extras = project.partition("[project.optional-dependencies]")
    assert "argcomplete" not in required and 'completion = ["argcomplete' in extras
    page = (Path(__file__).parents[2] / "docs" / "old-experiments.md").read_text()
    assert "pip install argcomplete" in page
