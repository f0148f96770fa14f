"""A plan writes nothing, and tells whether the release would be kept."""

from pathlib import Path

import pytest
import torch

from audiocraft_export.pipeline.execute import execute
from audiocraft_export.release import owned_files

from .plans import OPTIONS, planned


def files(folder):
    return sorted(path.relative_to(folder) for path in Path(folder).rglob("*"))


def test_a_plan_and_its_report_write_nothing(make_xp, dora_dir):
    make_xp()
    before = files(dora_dir)
    report = planned(dora_dir).dry_run_report
    assert files(dora_dir) == before and not report.is_current and [*report.files] == ["state_dict.bin"]


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_the_sizes_of_a_plan_are_those_of_the_files(make_xp, dora_dir, format):
    make_xp(best_state={"model": {f"layer.{index}": torch.randn(index) for index in range(99)}})
    plan = planned(dora_dir, OPTIONS.replace(format=format, card=False))
    assert plan.dry_run_report.files == {file.name: file.stat().st_size for file in execute(plan).files}


def test_a_plan_with_other_options_does_not_keep_the_release(make_xp, dora_dir):
    make_xp()
    execute(planned(dora_dir))
    other = planned(dora_dir, OPTIONS.replace(weights="last"))
    assert other.existing is None and not other.dry_run_report.is_current and execute(other).written


def test_a_plan_reads_no_weights_of_the_release_that_it_would_replace(make_xp, dora_dir, monkeypatch):
    make_xp()
    execute(planned(dora_dir))
    read = []
    monkeypatch.setattr(owned_files, "matches_manifest", lambda folder, files: read.append(files))
    other = OPTIONS.replace(format="safetensors", card=False)
    assert not planned(dora_dir, other).dry_run_report.is_current and read == []


@pytest.mark.parametrize(("before", "after", "is_kept"), [
    ("none", "bytes", False), ("none", "cache", False), ("none", "none", True), ("cache", "bytes", True)])
def test_a_plan_keeps_a_release_that_was_not_read_back_only_if_the_export_reads_nothing_back(
        make_xp, dora_dir, before, after, is_kept):
    make_xp()
    execute(planned(dora_dir, OPTIONS.replace(verify=before)))
    plan = planned(dora_dir, OPTIONS.replace(verify=after))
    assert plan.dry_run_report.is_current == is_kept and execute(plan).written != is_kept
