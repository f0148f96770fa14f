"""Disks that several machines see: what is coarse there, late, or gone."""

import errno
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import SIG, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.cli.xp_summary import release_status
from audiocraft_export.pipeline.export import plan_export
from audiocraft_export.storage.file_version import same_mtime
from audiocraft_export.storage.staging import MACHINE

EXACT = 1_700_000_000_123_456_789  # in nanoseconds


def cut(time, step):
    return time // step * step


def set_age(folder, time):
    os.utime(folder / "checkpoint.th", ns=(time, time))


def is_planned_as_there(folder):
    planned = plan_export(open_checkpoint(folder / "checkpoint.th"), folder, folder / "export", ExportOptions())
    return planned.is_there


@pytest.mark.parametrize("step", [10**9, 10**6, 10**3, 10**2])
@pytest.mark.parametrize("known_exactly", ["when it was exported", "now"])
def test_a_time_that_a_disk_has_cut_is_the_same_time(make_xp, dora_dir, step, known_exactly):
    folder, times = make_xp(), [EXACT, cut(EXACT, step)]
    then, now = times if known_exactly == "when it was exported" else reversed(times)
    set_age(folder, then)
    written = export_xp(SIG, dora_dir).manifest
    set_age(folder, now)
    assert release_status(folder / "export", folder)[0] == "fresh" and is_planned_as_there(folder)
    again = export_xp(SIG, dora_dir)
    assert not again.written and again.manifest == written


def test_a_time_that_went_through_a_number_of_seconds_is_the_same_time(make_xp, dora_dir):
    folder = make_xp()
    set_age(folder, EXACT)
    export_xp(SIG, dora_dir)
    os.utime(folder / "checkpoint.th", (EXACT / 1e9, EXACT / 1e9))
    assert (folder / "checkpoint.th").stat().st_mtime_ns != EXACT
    assert release_status(folder / "export", folder)[0] == "fresh" and not export_xp(SIG, dora_dir).written


@pytest.mark.parametrize("then, now", [
    (EXACT, EXACT + 1000), (cut(EXACT, 10**6), cut(EXACT, 10**6) + 10**6), (cut(EXACT, 10**9), EXACT + 10**9),
    (cut(EXACT, 10**9), cut(EXACT, 10**9) + 10**9), (EXACT, cut(EXACT, 10**9) + 10**9)])
def test_a_checkpoint_of_the_same_size_that_was_written_later_is_another_one(make_xp, dora_dir, then, now):
    folder = make_xp()
    set_age(folder, then)
    export_xp(SIG, dora_dir)
    set_age(folder, now)
    assert release_status(folder / "export", folder)[0] == "stale" and not is_planned_as_there(folder)
    assert export_xp(SIG, dora_dir).written


@pytest.mark.parametrize("odd", [1.5, 1e300, "yesterday", [1], True, 10**40, -1])
def test_a_time_that_is_none_is_no_reason_to_fail(make_xp, dora_dir, odd):
    folder = make_xp()
    manifest = export_xp(SIG, dora_dir).manifest
    odd_one = replace(manifest, checkpoint={**manifest.checkpoint, "mtime_ns": odd})
    (folder / "export" / "export.json").write_text(odd_one.text)
    assert release_status(folder / "export", folder)[0] in ("fresh", "stale")
    assert export_xp(SIG, dora_dir).written


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


def test_the_time_of_a_compression_model_may_be_cut_as_well(make_xp, dora_dir):
    codec = make_xp("abcd0123", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/abcd0123")})
    set_age(codec, EXACT)
    assert export_xp(SIG, dora_dir).written
    set_age(codec, cut(EXACT, 10**9))
    assert not export_xp(SIG, dora_dir).written
    set_age(codec, EXACT + 10**9)
    assert export_xp(SIG, dora_dir).written


@pytest.mark.parametrize(("one", "other", "is_same"), [
    (EXACT, cut(EXACT, 10**9), True), (EXACT, cut(EXACT, 10**6), True), (EXACT, EXACT + 1000, False),
    (cut(EXACT, 10**9), EXACT + 10**9, False)])
def test_times_are_compared_as_exactly_as_the_coarser_of_two_is_known(one, other, is_same):
    assert same_mtime(one, other) == same_mtime(other, one) == is_same
