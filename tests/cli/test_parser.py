"""The help of the command and of its verbs."""

import pytest

from .commands import command


@pytest.mark.parametrize("argv", [[], ["run"], ["list"], ["inspect"], ["verify"]])
def test_help_has_examples_and_fits_80_columns(monkeypatch, tmp_path, argv):
    monkeypatch.setenv("COLUMNS", "80")
    text = command(*argv, "--help", cwd=tmp_path).stdout
    examples = text.partition("\nexamples:\n")[2].splitlines()
    assert len([line for line in examples if line.startswith(f"  {' '.join(['audiocraft-export', *argv])}")]) >= 4
    assert max(map(len, text.splitlines())) <= 80
