"""Run the command, and parse its JSON output."""

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout

import pytest
from helpers import run, started
from schema import check_line

from audiocraft_export.cli import main as cli

PRETRAINED = "//pretrained/facebook/encodec_32khz"


def command(*argv, cwd, code=0, **env):
    """Run the command, and return its output; in this process, which has torch loaded, if no environment is given."""
    argv = [*map(str, argv)]
    if env or "--jobs" in argv:
        start = run if "PYTHONIOENCODING" in env else started  # Python reads it when it starts
        result = start("audiocraft_export", *argv, cwd=cwd, **env)
    else:
        result = in_process(argv, cwd)
    assert result.returncode == code and "Traceback" not in result.stderr, result.stderr
    if "--json" in argv:
        check_lines(argv, result.stdout)
    return result


def check_lines(argv, stdout):
    """Check that all lines are JSON that follows the schema of the verb."""
    names = {name: verb for verb in cli.VERBS for name in (verb, *cli.ALIASES.get(verb, ()))}
    verb = next((names[word] for word in argv if word in names), "run")  # wrong usage has the same line for all
    for line in stdout.splitlines():
        check_line(verb, line)


def in_process(argv, cwd):
    out, err, here = io.StringIO(), io.StringIO(), os.getcwd()
    os.chdir(cwd)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main(argv)
    finally:
        os.chdir(here)
    return subprocess.CompletedProcess(argv, ended.value.code, out.getvalue(), err.getvalue())


def listed(cwd, *argv):
    return lines("list", *argv, cwd=cwd)


def inspected(cwd, *argv):
    return lines("inspect", *argv, cwd=cwd)


def lines(verb, *argv, cwd, code=0):
    """Return the lines of `--json`, checked against the schema."""
    return [check_line(verb, line) for line in command(verb, "--json", *argv, cwd=cwd, code=code).stdout.splitlines()]
