"""Run the command in this process, and write XPs to any path."""

import os
import sys

import pytest

from audiocraft_export.cli import main as cli

from .names import is_clean, lines, with_hints


@pytest.fixture
def run(capsys, caplog):
    """Run the command in this process; return its exit code and the lines of its output."""
    def run(*args):
        caplog.clear()
        with pytest.raises(SystemExit) as stop:
            cli.main(["run", *map(str, args)])
        out, err = map(lines, capsys.readouterr())
        for line in [*out, *err, *(record.getMessage() for record in caplog.records)]:
            assert is_clean(line), line
        assert not any("unexpected-error" in line or "Traceback" in line for line in err), err
        return stop.value.code, out, with_hints(err)
    return run


@pytest.fixture(autouse=True)
def nothing_is_written_elsewhere(tmp_path, monkeypatch):
    """Run the test in a temporary folder, and check that files next to it do not change."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert victim.read_text() == "mine" and not list(tmp_path.rglob("pwned"))


@pytest.fixture
def xp_at(make_xp):
    """Write an XP folder to a path."""
    def put(folder, **sections):
        folder.parent.mkdir(parents=True, exist_ok=True)
        return make_xp(**sections).rename(folder)
    return put


OPENED, HOOKED = [], []


@pytest.fixture
def opened():
    """Record the paths that are opened."""
    found = []

    def hook(event, args):
        if event == "open" and OPENED and isinstance(args[0], (str, bytes)):
            OPENED[-1].append(os.path.realpath(os.fsdecode(args[0])))
    if not HOOKED:
        sys.addaudithook(hook)
        HOOKED.append(True)
    OPENED.append(found)
    yield found
    OPENED.pop()
