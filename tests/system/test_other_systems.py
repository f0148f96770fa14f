"""The command and a training work without what Windows lacks; no test runs on a real Windows or macOS."""

import json
import os
from pathlib import Path

import pytest
from cli.commands import command
from helpers import SIG, only_xp, run

PATHS = [str(Path(__file__).parents[1] / "missing_names"), str(Path(__file__).parents[2])]
ENVIRON = {"PYTHONPATH": os.pathsep.join(PATHS)}
SIGS = [SIG, "11112222", "33334444"]


@pytest.mark.parametrize("options", [[], ["--format", "safetensors", "--dtype", "float16"]])
def test_the_command_works_without_what_windows_lacks(make_xp, tmp_path, options):
    for sig in SIGS:
        make_xp(sig)
    for weights in ("best", "last"):  # writes new releases, then replaces them
        result = command("run", *SIGS, "--jobs", "2", "--weights", weights, "--json", *options, cwd=tmp_path,
                         **ENVIRON)
        assert result.returncode == 0, result.stderr
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [line["result"] for line in lines] == ["exported"] * len(SIGS)
    for argv in (["verify", *SIGS], ["list"], ["inspect", SIG], ["run", SIG, "--weights", "last", *options]):
        result = command(*argv, cwd=tmp_path, **ENVIRON)
        assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr


def test_the_names_are_missing_in_the_command_and_its_workers(make_xp, tmp_path):
    code = "import os, signal, sys; assert not hasattr(os, 'pread') and not hasattr(signal, 'SIGHUP')\n" \
           "try: import fcntl\nexcept ImportError: pass\nelse: raise AssertionError"
    jobs = f"from functools import partial; from audiocraft_export.jobs.local import run_in_workers; {code}\n" \
           f"print(*[each for each in run_in_workers(2, [partial(exec, {code!r})] * 2) if each[0] >= 0])"
    (tmp_path / "jobs.py").write_text(jobs)
    result = run("jobs", cwd=tmp_path, PYTHONPATH=os.pathsep.join([*PATHS, str(tmp_path)]))
    assert result.stdout.count("JobResult(value=None, error=None)") == 2, result.stdout + result.stderr


def test_a_training_exports_without_what_windows_lacks(project, tmp_path):
    root = project()
    result = run("dora", "-P", "proj", "run", "export=true", cwd=root,
                 PYTHONPATH=os.pathsep.join([*PATHS, str(root)]))
    assert result.returncode == 0, result.stderr
    assert (only_xp(root) / "export" / "export.json").exists()
