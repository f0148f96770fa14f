"""Runs the command as it is typed, and reads what it prints as JSON."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from audiocraft_export.cli import main as cli

PRETRAINED = "//pretrained/facebook/encodec_32khz"


def command(*argv, cwd, code=0, **env):
    """What a command prints; in this process, which has imported torch already, unless the environment decides."""
    argv = [*map(str, argv)]
    if env or "--jobs" in argv:
        result = subprocess.run([sys.executable, "-m", "audiocraft_export", *argv], cwd=cwd, text=True,
                                capture_output=True, timeout=60, env={**os.environ, **env})
    else:
        result = in_process(argv, cwd)
    assert result.returncode == code and "Traceback" not in result.stderr, result.stderr
    return result


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
    return [json.loads(line) for line in command("list", "--json", *argv, cwd=cwd).stdout.splitlines()]


def inspected(cwd, *argv):
    return [json.loads(line) for line in command("inspect", "--json", *argv, cwd=cwd).stdout.splitlines()]
