"""A plan writes nothing; executing it makes the release, once."""

from pathlib import Path

import pytest
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp, verify
from audiocraft_export.checkpoint.checkpoint import open_experiment
from audiocraft_export.errors import ReleaseError
from audiocraft_export.experiment.xp import find_xp
from audiocraft_export.pipeline import execute as module
from audiocraft_export.pipeline.execute import execute, plan
from audiocraft_export.release import owned_files
from audiocraft_export.release.prepare import prepare

OPTIONS = ExportOptions(version="1.3.0")


def planned(dora_dir, options=OPTIONS):
    xp = find_xp(SIG, dora_dir)
    return plan(prepare(open_experiment(xp, xp.checkpoint()), xp.folder, options), xp.folder / "export", options)


def files(folder):
    return sorted(path.relative_to(folder) for path in Path(folder).rglob("*"))


def test_a_manifest_that_no_reader_would_accept_costs_no_release(make_xp, dora_dir, monkeypatch):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    before = (folder / "export.json").read_bytes()
    monkeypatch.setattr(module, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(ReleaseError, match="The manifest would be"):
        export_xp(SIG, dora_dir, force=True, weights="last")
    assert (folder / "export.json").read_bytes() == before and verify(folder).ok


def test_a_plan_and_its_summary_write_nothing(make_xp, dora_dir):
    make_xp()
    before = files(dora_dir)
    summary = planned(dora_dir).summary
    assert files(dora_dir) == before and not summary.is_current and [*summary.files] == ["state_dict.bin"]


def test_an_executed_plan_is_the_release_of_an_export(make_xp, dora_dir):
    make_xp()
    made = execute(planned(dora_dir))
    assert made.written and not export_xp(SIG, dora_dir, OPTIONS).written
    assert planned(dora_dir).summary.is_current and not execute(planned(dora_dir)).written


def test_a_plan_with_other_options_does_not_keep_the_release(make_xp, dora_dir):
    make_xp()
    execute(planned(dora_dir))
    other = planned(dora_dir, OPTIONS.replace(weights="last"))
    assert other.existing is None and not other.summary.is_current and execute(other).written


def test_a_release_that_is_damaged_is_made_again(make_xp, dora_dir):
    make_xp()
    file, = execute(planned(dora_dir)).files
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert planned(dora_dir).summary.is_current  # by its size, because a plan reads no weights
    assert execute(planned(dora_dir)).written and file.read_bytes() == data


def test_a_plan_reads_no_weights_of_the_release_that_it_would_replace(make_xp, dora_dir, monkeypatch):
    make_xp()
    execute(planned(dora_dir))
    read = []
    monkeypatch.setattr(owned_files, "matches_manifest", lambda folder, files: read.append(files))
    assert not planned(dora_dir, OPTIONS.replace(format="safetensors", card=False)).summary.is_current and read == []
