"""The command in this process, and XPs anywhere."""

import os
import sys

import pytest

from audiocraft_export.cli import main as cli

from .names import is_clean, lines


@pytest.fixture
def run(capsys, caplog):
    """Run the command in this process; gives its exit code, and what it said line by line."""
    def run(*args):
        caplog.clear()
        with pytest.raises(SystemExit) as stop:
            cli.main(["run", *map(str, args)])
        out, err = map(lines, capsys.readouterr())
        for line in [*out, *err, *(record.getMessage() for record in caplog.records)]:
            assert is_clean(line), line
        assert not any("unexpected" in line or "Traceback" in line for line in err), err
        return stop.value.code, out, err
    return run


@pytest.fixture(autouse=True)
def nothing_is_written_elsewhere(tmp_path, monkeypatch):
    """Stand in a folder of its own; whatever happens, its neighbour stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert victim.read_text() == "mine" and not list(tmp_path.rglob("pwned"))


@pytest.fixture
def xp_at(make_xp):
    """Put an XP folder at a place."""
    def put(folder, **sections):
        folder.parent.mkdir(parents=True, exist_ok=True)
        return make_xp(**sections).rename(folder)
    return put


OPENED, HOOKED = [], []


@pytest.fixture
def opened():
    """The paths that were opened since."""
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
