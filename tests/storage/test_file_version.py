"""Read checkpoints on shared disks, which may have coarse times, stale handles and several machines."""

import errno
import os
import re
from pathlib import Path

import pytest
from helpers import SIG

from audiocraft_export import ExportError, export_xp
from audiocraft_export.storage.file_version import same_mtime
from audiocraft_export.storage.staging import MACHINE

EXACT = 1_700_000_000_123_456_789  # nanoseconds


def cut(time, step):
    return time // step * step


def set_age(folder, time):
    os.utime(folder / "checkpoint.th", ns=(time, time))


def test_machines_with_the_same_name_are_distinguished():
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    assert MACHINE.endswith(f"_{boot[:8]}") and re.fullmatch(r"\w{1,90}", MACHINE)


def test_a_checkpoint_that_another_node_replaces_while_it_is_read_is_an_error(make_xp, dora_dir, monkeypatch):
    make_xp()

    def stale(*_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    monkeypatch.setattr(os, "pread", stale)  # as NFS does for a file that was removed on the server
    with pytest.raises(ExportError, match="checkpoint.th was modified while it was read") as error:
        export_xp(SIG, dora_dir)
    assert error.value.code == "file-changed"
    assert error.value.hint == "try again when the process that writes it has finished"


def test_a_truncated_mtime_is_not_a_modification(make_xp, dora_dir, monkeypatch):
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
    """The status of a file with times that are truncated to seconds."""

    def __init__(self, found):
        self.st_size, self.st_mtime_ns = found.st_size, cut(found.st_mtime_ns, 10**9)


@pytest.mark.parametrize(("one", "other", "is_same"), [
    (EXACT, cut(EXACT, 10**9), True), (EXACT, cut(EXACT, 10**6), True), (EXACT, EXACT + 1000, False),
    (cut(EXACT, 10**9), EXACT + 10**9, False)])
def test_times_are_compared_as_exactly_as_the_coarser_of_two_is_known(one, other, is_same):
    assert same_mtime(one, other) == same_mtime(other, one) == is_same
