"""Executing a plan makes the release, once."""

import pytest
from helpers import SIG

from audiocraft_export import export_xp, verify
from audiocraft_export.errors import ReleaseError
from audiocraft_export.pipeline import execute as module
from audiocraft_export.pipeline.execute import execute

from .plans import OPTIONS, planned


def test_a_manifest_that_no_reader_would_accept_costs_no_release(make_xp, dora_dir, monkeypatch):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    before = (folder / "export.json").read_bytes()
    monkeypatch.setattr(module, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(ReleaseError, match="The manifest would be"):
        export_xp(SIG, dora_dir, force=True, weights="last")
    assert (folder / "export.json").read_bytes() == before and verify(folder).ok


def test_an_executed_plan_is_the_release_of_an_export(make_xp, dora_dir):
    make_xp()
    made = execute(planned(dora_dir))
    assert made.written and not export_xp(SIG, dora_dir, OPTIONS).written
    assert planned(dora_dir).dry_run_report.is_current and not execute(planned(dora_dir)).written


def test_a_release_that_is_damaged_is_made_again(make_xp, dora_dir):
    make_xp()
    file, = execute(planned(dora_dir)).files
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert planned(dora_dir).dry_run_report.is_current  # by its size, because a plan reads no weights
    assert execute(planned(dora_dir)).written and file.read_bytes() == data
