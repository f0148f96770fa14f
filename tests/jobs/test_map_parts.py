"""Apply a function to the parts of a long list, in several processes."""

import os
import signal
from functools import partial

import pytest

from audiocraft_export.jobs import map_parts as module
from audiocraft_export.jobs.map_parts import map_parts


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr(module, "processors", lambda: 2)
    monkeypatch.setattr(module, "ITEMS_PER_PROCESS", 8)


def pid_and(items):
    """Return the process and the items."""
    return os.getpid(), items


def die_unless(pid, items):
    """Return the items in one process, and die in any other one."""
    if os.getpid() != pid:
        os.kill(os.getpid(), signal.SIGKILL)
    return items


def refuse(items):
    """Raise an error for a part with the number 9."""
    if 9 in items:
        raise ValueError("nine")


def test_a_long_list_is_processed_in_other_processes_in_order(two_processes):
    found = map_parts(pid_and, range(21))
    assert os.getpid() not in {pid for pid, _ in found} and len({pid for pid, _ in found}) <= 2
    assert len(found) > 2 and [item for _, items in found for item in items] == [*range(21)]


def test_a_short_list_is_processed_here(two_processes):
    assert map_parts(pid_and, range(15)) == [(os.getpid(), range(15))]
    assert map_parts(pid_and, []) == [(os.getpid(), [])]


def test_so_is_any_list_on_one_processor(two_processes, monkeypatch):
    monkeypatch.setattr(module, "processors", lambda: 1)
    assert map_parts(pid_and, range(100)) == [(os.getpid(), range(100))]


def test_a_part_whose_process_died_is_processed_here(two_processes):
    found = map_parts(partial(die_unless, os.getpid()), range(16))
    assert [item for items in found for item in items] == [*range(16)]


def test_an_error_of_the_function_is_raised(two_processes):
    with pytest.raises(ValueError, match="nine"):
        map_parts(refuse, range(16))
