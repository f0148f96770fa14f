"""Standard output and error that cannot be written to."""

import json
import subprocess
import sys

import pytest
from helpers import SIG


@pytest.mark.parametrize(("streams", "code"), [(">&-", 0), ("2>&-", 1), (">&- 2>&-", 0), ("2>/dev/full", 1)])
def test_streams_that_cannot_be_written_change_neither_the_result_nor_each_other(make_xp, tmp_path, streams, code):
    folder = make_xp()
    targets = f"{SIG} 99999999" if code else SIG
    line = f"{sys.executable} -m audiocraft_export run {targets} --json {streams}"
    result = subprocess.run(line, shell=True, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert result.returncode == code and result.stderr == "" and (folder / "export" / "export.json").exists()
    assert [json.loads(text)["target"] for text in result.stdout.splitlines()] == ([SIG, "99999999"] if code else [])


@pytest.mark.parametrize("streams", ["<&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-"])
def test_several_processes_need_no_streams(make_xp, tmp_path, streams):
    folders = [make_xp("11111111"), make_xp("22222222")]
    line = f"{sys.executable} -m audiocraft_export run --all --jobs 2 {streams}"
    assert subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, timeout=60).returncode == 0
    assert all((folder / "export" / "export.json").exists() for folder in folders)
