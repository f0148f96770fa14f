"""Tests of the log lines that a training shows for errors."""

import pytest

from audiocraft_export import ExportError
from audiocraft_export.hooks import messages
from audiocraft_export.hooks.messages import fatal_errors, log_error

ERROR = ExportError("disk-full", "The disk is full", "free some space")


def test_an_error_and_its_hint_are_two_lines_of_the_log(capsys):
    said = []
    log_error(ERROR, said.append)
    assert said == ["error[disk-full]: The disk is full", "  hint: free some space"]
    log_error(ERROR)
    assert [line.count("Export:") for line in capsys.readouterr().err.splitlines()] == [1, 1]


@pytest.mark.parametrize(("full", "kind"), [("0", SystemExit), ("1", ExportError)])
def test_a_fatal_error_is_raised_only_for_hydra_full_error(monkeypatch, capsys, full, kind):
    monkeypatch.setenv("HYDRA_FULL_ERROR", full)
    with pytest.raises(kind) as end, fatal_errors():
        raise ERROR
    assert end.value is ERROR if full == "1" else end.value.code == 1
    assert ("error[disk-full]" in capsys.readouterr().err) is (full == "0")


def test_an_error_outside_of_a_main_over_hydra_is_raised(capsys):
    with pytest.raises(ExportError), fatal_errors(is_fatal=False):
        raise ERROR
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("rank", "seconds"), [("0", []), ("1", [messages.RANK_ZERO_TIME])])
def test_other_ranks_do_not_end_before_rank_zero_has_logged_its_error(monkeypatch, rank, seconds):
    for name, value in (("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", rank)):
        monkeypatch.setenv(name, value)
    waited = []
    monkeypatch.setattr(messages.time, "sleep", waited.append)
    with pytest.raises(SystemExit), fatal_errors():
        raise ERROR
    assert waited == seconds
