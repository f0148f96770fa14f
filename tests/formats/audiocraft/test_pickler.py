"""Write plain data and tensors as torch.save does."""

import os
from pathlib import Path

import pytest
import torch
from helpers import SIG

from audiocraft_export import ExportError, ExportOptions, export_xp


def test_plain_data_in_the_weights_is_restored(make_xp, dora_dir):
    data = {"int": 1 << 2000, "neg": -5, "float": 0.1, "none": None, "tuple": (1, (2,)),
            "list": [True, "é"], "bytes": b"\0\xff", 3: "three", "w": torch.ones(2)}
    make_xp(best_state={"model": data})
    state = torch.load(export_xp(SIG, dora_dir).files[0])["best_state"]  # with the default settings of this torch
    assert state.pop("w").equal(data.pop("w")) and state == data


def test_more_plain_data_than_a_reader_accepts_is_refused(make_xp, dora_dir):
    text = "x" * 27_000_000
    make_xp(best_state={"model": {"w": torch.ones(2), "a": text, "b": text}})
    with pytest.raises(ExportError, match="limit"):
        export_xp(SIG, dora_dir)


def test_an_export_reads_its_files_back(make_xp, dora_dir, monkeypatch):
    make_xp()
    good = export_xp(SIG, dora_dir).files[0].read_bytes()
    fsync = os.fsync

    def flip(descriptor):
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == "state_dict.bin":
            data = path.read_bytes()
            path.write_bytes(data[:300] + bytes([data[300] ^ 1]) + data[301:])
    monkeypatch.setattr(os, "fsync", flip)
    with pytest.raises(ExportError, match="The written file differs from its content"):
        export_xp(SIG, dora_dir, ExportOptions(weights="last"))
    assert (dora_dir / "xps" / SIG / "export" / "state_dict.bin").read_bytes() == good
