"""Tables on terminals of any width, and in files."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers import on_terminal, with_cfg

from audiocraft_export.cli.output import Cell, Column, _draw, _fit_columns, _styled, cut, duration, print_table

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


@pytest.mark.parametrize(("term", "shown"), [("xterm", "\x1b[1mx\x1b[0m"), ("dumb", "x"), (None, "x")])
def test_an_error_has_styles_where_the_terminal_names_its_kind(monkeypatch, term, shown):
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert _styled("x", "1") == shown


@pytest.mark.parametrize("columns", ["1", "2"])
def test_a_terminal_may_have_almost_no_columns(train, tmp_path, columns):
    train("11111111", [], [1.])
    command("list", cwd=tmp_path, COLUMNS=columns)


def test_a_deleted_folder_is_left_by_an_absolute_path(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && {sys.executable} -m audiocraft_export list --dora-dir {dora_dir}"
    result = subprocess.run(["bash", "-c", script], text=True, capture_output=True, timeout=60)
    assert result.returncode == 0 and "11111111" in result.stdout, result.stderr


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


def test_the_code_of_an_error_is_in_the_table_on_a_narrow_terminal(train, tmp_path):
    train("11111111", [], [1.])
    train("22222222", [], [1.], best_state=...)
    code = "import sys; from audiocraft_export.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass"
    shown = on_terminal("-c", code, "run", "--all", cwd=tmp_path, columns=96)
    assert "error[missing-weights]" in shown.rpartition("output / error")[2]


COLUMNS = (Column("sig"), Column("what", shrink=True, min_width=10), Column("best", drop_order=1),
           Column("age", drop_order=2))
WIDTHS = [8, 40, 10, 5]


@pytest.mark.parametrize(("room", "widths"), [
    (69, {0: 8, 1: 40, 2: 10, 3: 5}), (60, {0: 8, 1: 31, 2: 10, 3: 5}), (39, {0: 8, 1: 10, 2: 10, 3: 5}),
    (38, {0: 8, 1: 16, 2: 10}), (31, {0: 8, 1: 21}), (5, {0: 8, 1: 8})])
def test_columns_shrink_and_then_are_dropped_in_their_order(room, widths):
    assert _fit_columns(COLUMNS, WIDTHS, room) == widths


def test_narrow_columns_leave_their_space_to_wide_ones():
    columns = [Column(name, shrink=True) for name in "abc"]
    assert _fit_columns(columns, [50, 10, 50], 64) == {0: 25, 1: 10, 2: 25}


def test_a_column_keeps_its_minimum_width_next_to_a_wide_one():
    columns = [Column("what", shrink=True, min_width=16), Column("release", shrink=True, min_width=18)]
    for room in range(36, 60):
        what, release = _fit_columns(columns, [40, 18], room).values()
        assert what >= 16 and release == 18 and what + release + 2 <= room


def test_a_column_without_a_text_is_left_out(capsys):
    print_table(COLUMNS, [["11111111", "", "3", ""], ["2", "", "", ""]])
    assert capsys.readouterr().out == "sig       best\n11111111  3\n2\n"
    print_table(COLUMNS, [])
    assert capsys.readouterr().out == ""


def test_a_text_is_cut_at_its_end_or_its_beginning():
    assert cut("0123456789", 10) == "0123456789" and cut("0123456789", 8) == "01234..."
    assert cut("0123456789", 8, tail=True) == "...56789" and cut("0123456789", 8, dots="…") == "0123456…"


def test_a_closed_or_full_stream_is_not_an_error():
    code = ("import sys; from audiocraft_export.cli.output import make_streams_usable, print_note; "
            "make_streams_usable(); print_note('no' + chr(0xdc80)); print('caf' + chr(233))")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"caf\\xe9\n", b"no\\udc80\n")
    shell = f'exec "{sys.executable}" -c "{code}" >&- 2>/dev/full'
    assert subprocess.run(["bash", "-c", shell], env=env).returncode == 0


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0 s"), (59, "59 s"), (60, "1 min"), (86400, "1 d"), (3e7, "347 d"), (1e8, "3 y")])
def test_a_duration_is_in_its_largest_unit(seconds, text):
    assert duration(seconds) == text


def test_a_table_on_a_terminal_is_aligned_by_its_cells(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "22")
    monkeypatch.delenv("NO_COLOR", raising=False)
    columns = (Column("sig", style="bold"), Column("what", shrink=True), Column("n", right=True))
    _draw(columns, [["1111", "a=日本語日本語", "7"], ["2", Cell("x" * 30, "red"), "10"]])
    shown = capsys.readouterr().out
    assert re.sub("\x1b[^m]*m", "", shown).splitlines() == [
        "sig   what           n", "─" * 22, "1111  a=日本語日本   7", "2     xxxxxxxxxxx…  10"]
    assert "\x1b[1m2   \x1b[0m" in shown and "\x1b[31mxxxxxxxxxxx…\x1b[0m" in shown
    _draw(columns, [["1", "e\u0301", "7"], ["2", "ab", "10"]])
    marked = re.sub("\x1b[^m]*m", "", capsys.readouterr().out).splitlines()[2:]
    assert marked == ["1    e\u0301      7", "2    ab    10"]
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "5")
    _draw(columns, [["1111", "abc", "7"]])
    assert capsys.readouterr().out.splitlines() == ["sig ", "─────", "1111"]
