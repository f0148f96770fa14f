"""Files are read and written on systems that lack what Linux has."""

import ctypes
import errno
import math
import os
import runpy
import shutil
import sys
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from helpers import SIG, on_disk

from audiocraft_export import ExportOptions, export_xp, list_xps, verify
from audiocraft_export.storage import platform, swap
from audiocraft_export.storage.platform import (
    bytes_read_from_disks,
    copy_owner,
    drop_cache,
    folder_exchange,
    free_space,
    is_running,
    open_binary,
    read_at,
)

OPTIONS = (ExportOptions(), ExportOptions(weights="last"), ExportOptions(format="safetensors"), ExportOptions())


@pytest.fixture(params=[True, False], ids=["pread", "lseek"])
def with_pread(request, monkeypatch):
    if not request.param:
        monkeypatch.delattr(os, "pread")


def test_threads_read_one_file_at_different_positions(tmp_path, with_pread):
    data = bytes(range(256)) * 256
    (tmp_path / "file").write_bytes(data)
    descriptor, wrong = open_binary(tmp_path / "file"), []

    def read(step):
        for position in range(0, len(data), step):
            if read_at(descriptor, 100, position) != data[position:position + 100]:
                wrong.append(position)
    threads = [Thread(target=read, args=(step,)) for step in (97, 101, 103, 107)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(descriptor)
    assert wrong == []


def test_a_file_is_opened_without_translating_newlines(tmp_path, monkeypatch):
    flags = []
    monkeypatch.setattr(os, "O_BINARY", 1 << 15, raising=False)
    monkeypatch.setattr(os, "open", lambda path, flag: flags.append(flag))
    open_binary(tmp_path)
    assert flags == [os.O_RDONLY | os.O_NONBLOCK | 1 << 15]


def test_the_bytes_of_a_dropped_file_are_read_from_the_disk(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(5_000_001))
    with open(path, "rb+") as stream:
        os.fsync(stream)
        before = bytes_read_from_disks()
        path.read_bytes()
        cached = bytes_read_from_disks() - before
        drop_cache(stream.fileno())
    path.read_bytes()
    read = bytes_read_from_disks() - before - cached
    assert cached == 0 and (read >= 5_000_001 if on_disk(path) else not read)


def test_a_system_that_counts_nothing_has_read_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "_PROCESS_IO", tmp_path / "io")
    assert bytes_read_from_disks() == 0
    for text in ("", "rchar: 1\n", "read_bytes: \n", "read_bytes\n"):
        (tmp_path / "io").write_text(text)
        assert bytes_read_from_disks() == 0
    (tmp_path / "io").write_text("rchar: 1\nread_bytes: 4096\nwrite_bytes: 2\n")
    assert bytes_read_from_disks() == 4096


def test_a_system_without_owners_copies_none(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "chown")
    copy_owner(os.stat(tmp_path), tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_the_free_space_is_infinite_where_it_is_unknown(tmp_path, monkeypatch, known):
    if known:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, free=0))
    else:
        monkeypatch.delattr(shutil, "disk_usage")
    assert free_space(tmp_path) == math.inf


def test_no_signal_is_sent_to_a_process_where_that_ends_it(monkeypatch):
    assert is_running(os.getpid()) and is_running(1)
    monkeypatch.setattr(platform, "os", SimpleNamespace(name="nt"))
    assert is_running(os.getpid()) is None and folder_exchange() is None


def without_renameat2(monkeypatch, **functions):
    """Let the C library have only these functions."""
    library = SimpleNamespace(**functions)
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: library)


def test_macos_exchanges_folders_by_its_own_function(make_xp, dora_dir, monkeypatch):
    calls, exchange = [], folder_exchange()

    def renamex_np(one, other, flags):
        calls.append(flags)
        return exchange(os.fsdecode(one), os.fsdecode(other))
    without_renameat2(monkeypatch, renamex_np=renamex_np)
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    before = folder.stat().st_ino
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert calls == [2] and folder.stat().st_ino != before and verify(folder).problems == []


def not_supported(*_):
    ctypes.set_errno(errno.ENOTSUP)
    return -1


@pytest.mark.parametrize("functions", [{}, {"renamex_np": not_supported}])
def test_files_are_replaced_one_by_one_where_folders_cannot_be_exchanged(make_xp, dora_dir, monkeypatch, functions):
    without_renameat2(monkeypatch, **functions)
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    before = folder.stat().st_ino
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert folder.stat().st_ino == before and verify(folder).problems == []


def like_windows(function):
    """Return a function that moves files, but none that is open, and no folder with an open file."""
    def move(source, target):
        for descriptor in os.listdir("/proc/self/fd"):
            path = os.readlink(f"/proc/self/fd/{descriptor}") if os.path.exists(f"/proc/self/fd/{descriptor}") else ""
            if path == str(target) or f"{path}/".startswith(f"{source}/"):
                raise PermissionError(errno.EACCES, "in use", path)
        if os.path.isdir(source) and os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "exists", str(target))
        function(source, target)
    return move


def test_a_release_is_replaced_where_open_files_cannot_be_moved(make_xp, dora_dir, monkeypatch):
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, like_windows(getattr(os, name)))
    monkeypatch.setattr(swap, "folder_exchange", lambda: None)
    make_xp()
    for options in OPTIONS:
        report = export_xp(SIG, dora_dir, options)
        assert report.written and verify(report.folder).problems == []


def test_a_release_is_written_replaced_and_verified_without_what_windows_lacks(make_xp, dora_dir, monkeypatch):
    values = runpy.run_path(str(Path(__file__).parents[1] / "missing_names" / "sitecustomize.py"))
    for module, names in values["MISSING"].items():
        for name in names:
            monkeypatch.delattr(module, name, raising=False)
    for name in values["MODULES"]:
        monkeypatch.setitem(sys.modules, name, None)
    make_xp()
    for options in OPTIONS:
        report = export_xp(SIG, dora_dir, options)
        assert report.written and verify(report.folder).problems == []
    assert [xp.sig for xp in list_xps(dora_dir)] == [SIG]
