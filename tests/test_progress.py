"""Show progress on a terminal and in a log, and send it to another process."""

import json
import logging
from types import SimpleNamespace

import pytest
from helpers import LARGE_STATE, SIG, flip_bit, on_terminal, run_python

from audiocraft_export import ExportError, export_checkpoint, export_xp, progress


def command(*argv, quiet=0., every=0.):
    return (f"from audiocraft_export import progress; from audiocraft_export.cli.main import main\n"
            f"progress.INITIAL_DELAY, progress.BAR_EVERY, progress.LINE_EVERY = {quiet}, {every}, {every}\n"
            f"progress.MIN_BYTES = 0\n"
            f"if __name__ == '__main__': main({['run', *argv]!r})")


def test_a_terminal_shows_one_bar_with_bytes_rate_and_time_left(make_xp, tmp_path):
    make_xp(best_state=LARGE_STATE)
    shown = on_terminal("-c", command(SIG), cwd=tmp_path)
    assert f"{SIG} " in shown and "of 4.2 MB (" in shown and "MB/s" in shown and " left" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is shown again
    assert shown.rstrip().splitlines()[-1].endswith("xps/0123abcd/export")


def test_several_exports_have_one_bar_and_their_results_are_whole_lines(make_xp, tmp_path):
    sigs = [make_xp(str(number) * 8).name for number in (1, 2, 3)]
    shown = on_terminal("-c", command(*sigs), cwd=tmp_path)
    assert "0 done, 0 failed, " in shown and "2 done, 0 failed, " in shown
    lines = shown.replace("\r", "\n").splitlines()
    for sig in sigs:
        assert any(line.split("\x1b[2K")[-1].startswith(f"{sig} exported: best_state") for line in lines)


@pytest.mark.parametrize("env", [{}, {"TERM": "dumb"}, {"TERM": "unknown"}], ids=["fast", "dumb", "unknown"])
def test_a_short_export_and_a_simple_terminal_have_no_bar(make_xp, tmp_path, env):
    make_xp()
    shown = on_terminal("-c", command(SIG, quiet=0. if env else 60.), cwd=tmp_path, **env)
    assert "\x1b" not in shown and "exported" in shown


def test_a_quiet_command_has_no_bar(make_xp, tmp_path):
    make_xp(best_state=LARGE_STATE)
    assert on_terminal("-c", command(SIG, "-q"), cwd=tmp_path) == ""


def test_a_log_has_plain_lines_of_progress_now_and_then(make_xp, tmp_path):
    make_xp(best_state=LARGE_STATE)
    result = run_python("-c", command(SIG), cwd=tmp_path)
    lines = [line for line in result.stderr.splitlines() if line.startswith(f"{SIG}: ")]
    assert "\x1b" not in result.stderr and any(" of 4.2 MB (" in line and "MB/s" in line for line in lines)
    few = run_python("-c", command(SIG, "--weights", "last", every=60.), cwd=tmp_path)
    assert few.stderr.count("B/s, ") == few.stderr.count(f"{SIG}: ") == 1


def test_stdout_has_only_json_whatever_stderr_shows(make_xp, tmp_path):
    make_xp(best_state=LARGE_STATE)
    code = command(SIG, "--json").replace("if __name__", "import sys; sys.stdout = open('out', 'w')\nif __name__")
    assert "left" in on_terminal("-c", code, cwd=tmp_path)
    assert json.loads((tmp_path / "out").read_text())["target"] == SIG


def test_progress_of_an_export_in_python_goes_to_its_logger(make_xp, dora_dir, monkeypatch, caplog):
    make_xp(best_state=LARGE_STATE)
    for name in ("INITIAL_DELAY", "LINE_EVERY", "MIN_BYTES"):
        monkeypatch.setattr(progress, name, 0)
    with caplog.at_level(logging.INFO, "audiocraft_export"):
        export_xp(SIG, dora_dir)
    messages = [record.getMessage() for record in caplog.records if record.name == "audiocraft_export.progress"]
    assert messages and "(100%)" in messages[-1]


def test_a_failed_export_ends_its_progress(make_xp, dora_dir, tmp_path):
    folder = make_xp(best_state=LARGE_STATE)
    flip_bit(folder / "checkpoint.th", LARGE_STATE["model"]["w"])
    for _ in range(2):
        with pytest.raises(ExportError):
            export_checkpoint(folder / "checkpoint.th", tmp_path / "release")
        assert progress._display is None


def test_a_bar_that_cannot_be_drawn_does_not_stop_the_export(make_xp, tmp_path):
    folder = make_xp(best_state=LARGE_STATE)
    code = command(SIG).replace("if __name__", "import rich.progress; del rich.progress.Progress\nif __name__")
    shown = on_terminal("-c", code, cwd=tmp_path)
    assert "warning[progress-not-shown]: progress cannot be shown (" in " ".join(shown.split())
    assert "the export continues" in " ".join(shown.split())
    assert (folder / "export" / "export.json").exists()


def test_the_final_progress_of_a_process_is_sent_at_its_end():
    told = []
    relay = progress.ForwardingDisplay(told.append, 0.2)
    share = progress.Progress("x", 1)
    relay.update(0, share)
    share.nbytes = share.work = share.done = 100
    relay.end(0, failed=False)
    assert [each.fraction for each in told] == [1., 1.]  # the same share, counted in this process


@pytest.fixture
def clock(monkeypatch):
    """A clock that only advances when a test adds seconds to its `now`."""
    clock = SimpleNamespace(now=1000.)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "audiocraft_export.progress"]


def test_imports_are_a_phase_and_nothing_is_estimated_from_them(clock, caplog):
    caplog.set_level(logging.INFO, "audiocraft_export")
    with progress.track("x", passes=1):
        clock.now += 90  # a slow import before the first byte
        progress.set_total(100_000_000)
        progress.advance(0)
        clock.now += 10
        progress.advance(50_000_000)
        clock.now += 5
        with progress.phase("loading AudioCraft"):
            clock.now += 300
        clock.now += 5
        progress.advance(10_000_000)
    assert lines(caplog) == ["x: 0 B of 100 MB (0%), 0 B/s", "x: 50 MB of 100 MB (50%), 5 MB/s, 0:10 left",
                             "x: loading AudioCraft", "x: 60 MB of 100 MB (60%), 3 MB/s, 0:13 left"]


def test_nothing_is_estimated_from_a_previous_release_that_was_read(clock, caplog):
    caplog.set_level(logging.INFO, "audiocraft_export")
    with progress.track("x", passes=1):
        for done in (100_000_000, 50_000_000):  # read completely, then written
            progress.set_total(100_000_000)
            clock.now += 10
            progress.advance(done)
    assert lines(caplog) == ["x: 100 MB of 100 MB (100%), 10 MB/s, 0:00 left",
                             "x: 50 MB of 100 MB (50%), 5 MB/s, 0:10 left"]


@pytest.mark.parametrize(("seconds", "nbytes"), [(4.9, 10**9), (3600., 9_999_999)])
def test_nothing_is_shown_below_five_seconds_or_ten_megabytes(clock, caplog, seconds, nbytes):
    caplog.set_level(logging.INFO, "audiocraft_export")
    with progress.track("x", passes=1):
        progress.set_total(nbytes)
        clock.now += seconds
        progress.advance(nbytes // 2)
        with progress.phase("loading AudioCraft"):
            pass
    assert lines(caplog) == []
