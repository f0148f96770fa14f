"""Use few resources of the system, and release them."""

import errno
import gc
import os

import torch
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp


def test_a_system_without_posix_fadvise_is_supported(make_xp, dora_dir, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    make_xp(best_state={"model": {"w": torch.zeros(3 << 20)}})
    assert export_xp(SIG, dora_dir).written


def test_no_file_stays_open_where_garbage_is_not_collected(make_xp, dora_dir):
    make_xp()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        for weights in ("best", "last", "best"):
            export_xp(SIG, dora_dir, ExportOptions(weights=weights))
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()
