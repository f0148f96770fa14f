"""The help of the command and of its verbs."""

import pytest

from audiocraft_export.cli.parser import Parser, add_verb

from .commands import command


@pytest.mark.parametrize("argv", [[], ["run"], ["list"], ["inspect"], ["verify"]])
def test_help_has_examples_and_fits_80_columns(monkeypatch, tmp_path, argv):
    monkeypatch.setenv("COLUMNS", "80")
    text = command(*argv, "--help", cwd=tmp_path).stdout
    examples = text.partition("\nexamples:\n")[2].splitlines()
    assert len([line for line in examples if line.startswith(f"  {' '.join(['audiocraft-export', *argv])}")]) >= 4
    assert max(map(len, text.splitlines())) <= 80


def test_wrong_usage_is_one_line(capsys):
    parser = Parser(prog="command")
    verb = add_verb(parser.add_subparsers(), "do", lambda args: 7, summary="s", description="d", examples="e")
    verb.add_argument("--number", type=int)
    assert parser.parse_args(["do"]).verb(None) == 7
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["do", "--number", "x\n"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and error.endswith("; see command do --help.\n")
