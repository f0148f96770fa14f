"""Disks that several machines see: what is coarse there, late, or gone."""

import errno
import os
import re
from pathlib import Path

import pytest
from helpers import SIG

from audiocraft_export import ExportError, export_xp
from audiocraft_export.storage.file_version import same_mtime
from audiocraft_export.storage.staging import MACHINE

EXACT = 1_700_000_000_123_456_789  # in nanoseconds


def cut(time, step):
    return time // step * step


def set_age(folder, time):
    os.utime(folder / "checkpoint.th", ns=(time, time))


def test_machines_of_one_name_are_told_apart():
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    assert MACHINE.endswith(f"_{boot[:8]}") and re.fullmatch(r"\w{1,90}", MACHINE)


def test_a_checkpoint_that_another_node_replaces_while_it_is_read_is_said_in_a_sentence(make_xp, dora_dir, monkeypatch):
    make_xp()

    def stale(*_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    monkeypatch.setattr(os, "pread", stale)  # NFS says so of a file that is gone on the server
    with pytest.raises(ExportError, match="written to while it was read: export it again when its writer has finished"):
        export_xp(SIG, dora_dir)


def test_a_checkpoint_whose_time_is_cut_while_it_is_read_is_the_same(make_xp, dora_dir, monkeypatch):
    set_age(make_xp(), EXACT)
    fstat, times = os.fstat, []

    def later(descriptor):
        found = fstat(descriptor)
        if found.st_mtime_ns == EXACT:
            times.append(found)
        return found if len(times) < 2 or found.st_mtime_ns != EXACT else _Cut(found)
    monkeypatch.setattr(os, "fstat", later)
    assert export_xp(SIG, dora_dir).written and len(times) > 2


class _Cut:
    """What another look at a file gives where times are whole seconds by then."""

    def __init__(self, found):
        self.st_size, self.st_mtime_ns = found.st_size, cut(found.st_mtime_ns, 10**9)


@pytest.mark.parametrize(("one", "other", "is_same"), [
    (EXACT, cut(EXACT, 10**9), True), (EXACT, cut(EXACT, 10**6), True), (EXACT, EXACT + 1000, False),
    (cut(EXACT, 10**9), EXACT + 10**9, False)])
def test_times_are_compared_as_exactly_as_the_coarser_of_two_is_known(one, other, is_same):
    assert same_mtime(one, other) == same_mtime(other, one) == is_same
