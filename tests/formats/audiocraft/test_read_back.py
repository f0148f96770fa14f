"""What was written is read back."""

import os
from pathlib import Path

import pytest
from helpers import LARGE_STATE, SIG, flip_bit

from audiocraft_export import ExportError, export_xp
from audiocraft_export.formats.audiocraft import pickler


@pytest.mark.parametrize("large", [0, 1 << 30], ids=["two threads", "one thread"])
def test_every_record_is_read_back(make_xp, dora_dir, monkeypatch, large):
    monkeypatch.setattr(pickler, "_LARGE", large)
    make_xp(best_state=LARGE_STATE)
    fsync = os.fsync

    def damage(descriptor):
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == "state_dict.bin":
            flip_bit(path, LARGE_STATE["model"]["v"])
    monkeypatch.setattr(os, "fsync", damage)
    with pytest.raises(ExportError, match="does not read back"):
        export_xp(SIG, dora_dir)
