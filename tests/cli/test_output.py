"""Tables on terminals of any width, and elsewhere."""

import os
import re
import subprocess
import sys

import pytest
from helpers import on_terminal, with_cfg

from audiocraft_export.cli.output import Column, _fit_columns, cut, print_table

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
    assert "use weights=last or weights=ema." in shown.rpartition("where, or why not")[2].replace("\n", "")


COLUMNS = (Column("sig"), Column("what", shrink=True, min_width=10), Column("best", drop_order=1),
           Column("age", drop_order=2))
WIDTHS = [8, 40, 10, 5]


@pytest.mark.parametrize(("room", "widths"), [
    (69, {0: 8, 1: 40, 2: 10, 3: 5}), (60, {0: 8, 1: 31, 2: 10, 3: 5}), (39, {0: 8, 1: 10, 2: 10, 3: 5}),
    (38, {0: 8, 1: 16, 2: 10}), (31, {0: 8, 1: 21}), (5, {0: 8, 1: 8})])
def test_columns_shrink_and_then_are_dropped_in_their_order(room, widths):
    assert _fit_columns(COLUMNS, WIDTHS, room) == widths


def test_what_a_narrow_column_does_not_need_is_for_the_others():
    columns = [Column(name, shrink=True) for name in "abc"]
    assert _fit_columns(columns, [50, 10, 50], 64) == {0: 25, 1: 10, 2: 25}


def test_a_column_without_a_text_is_left_out(capsys):
    print_table(COLUMNS, [["11111111", "", "3", ""], ["2", "", "", ""]])
    assert capsys.readouterr().out == "sig       best\n11111111  3\n2\n"
    print_table(COLUMNS, [])
    assert capsys.readouterr().out == ""


def test_a_text_is_cut_at_its_end_or_its_beginning():
    assert cut("0123456789", 10) == "0123456789" and cut("0123456789", 8) == "01234..."
    assert cut("0123456789", 8, tail=True) == "...56789" and cut("0123456789", 8, dots="…") == "0123456…"


def test_a_stream_that_is_closed_or_full_is_no_error():
    code = ("import sys; from audiocraft_export.cli.output import make_streams_usable, print_err; "
            "make_streams_usable(); print_err('no' + chr(0xdc80)); print('caf' + chr(233))")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"caf\\xe9\n", b"no\\udc80\n")
    shell = f'exec "{sys.executable}" -c "{code}" >&- 2>/dev/full'
    assert subprocess.run(["bash", "-c", shell], env=env).returncode == 0
