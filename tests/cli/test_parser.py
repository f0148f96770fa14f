"""The help of the command and of its verbs."""

import pytest

from audiocraft_export.cli.main import Parser, _build_parser
from audiocraft_export.cli.verbs import inspect

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
    parser.add_subparsers().add_parser("do").add_argument("--number", type=int)
    assert _build_parser().parse_args(["inspect", "x"]).verb is inspect.execute
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["do", "--number", "x\n"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and error.endswith("; see command do --help.\n")
