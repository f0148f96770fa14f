"""Tables on terminals of any width, and elsewhere."""

import re

import pytest
from helpers import on_terminal, with_cfg

from .commands import command


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_table_fits_its_terminal_one_line_each(train, tmp_path, columns):
    train("11111111", [f"some.override{index}={index}" for index in range(9)], [1.])
    train("22222222", [], [1.])
    shown = on_terminal("-m", "audiocraft_export", "list", cwd=tmp_path, columns=columns, NO_COLOR="1")
    lines = shown.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) == 4 and all(len(line.rstrip()) <= columns for line in lines)
    assert columns < 40 or any(line.startswith("22222222") for line in lines)
    assert ("checkpoint" in lines[0]) == (columns >= 80) and ("override0" in "".join(lines) or columns < 40)


def test_a_table_has_colours_on_a_terminal_only(train, tmp_path):
    train("11111111", [])
    assert "\x1b[1m" in on_terminal("-m", "audiocraft_export", "list", cwd=tmp_path)
    assert "\x1b" not in on_terminal("-m", "audiocraft_export", "list", cwd=tmp_path, TERM="dumb")
    assert "\x1b" not in command("list", cwd=tmp_path, FORCE_COLOR="1").stdout


def test_without_colour_a_table_is_plain_text(train, tmp_path):
    train("11111111", [], [1.])
    for argv in (["list"], ["inspect", "11111111"]):
        assert "\x1b[" in on_terminal("-m", "audiocraft_export", *argv, cwd=tmp_path)
        assert "\x1b" not in on_terminal("-m", "audiocraft_export", *argv, cwd=tmp_path, NO_COLOR="1")
        assert "\x1b" in on_terminal("-m", "audiocraft_export", *argv, cwd=tmp_path, NO_COLOR="")


def test_values_that_differ_share_the_width_of_the_terminal(train, tmp_path):
    for sig, letter in (("11111111", "a"), ("22222222", "b")):
        train(sig, [], **{"xp.cfg": with_cfg(solver="musicgen", key=letter * 60, other=letter)})
    shown = on_terminal("-m", "audiocraft_export", "inspect", "11111111", "--diff", "2222", cwd=tmp_path, columns=90)
    lines = re.sub("\x1b[^m]*m", "", shown).replace("\r", "").splitlines()
    line, = [line for line in lines if line.startswith("key ") and "aaa" in line]
    assert len(line.rstrip()) > 80 and abs(line.count("a") - line.count("b")) < 3


def test_what_to_do_is_in_the_table_on_a_terminal_of_80_columns(train, tmp_path):
    train("11111111", [], [1.])
    train("22222222", [], [1.], best_state=...)
    code = "import sys; from audiocraft_export.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass"
    shown = on_terminal("-c", code, "run", "--all", cwd=tmp_path, columns=96)
    assert "weights=last for the latest weights." in shown.rpartition("where, or why not")[2].replace("\n", "")
