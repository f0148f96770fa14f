"""The ways to an export: by an experiment, a file, a state; and the same plan for all."""

from helpers import SIG

from audiocraft_export import ExportOptions
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.experiment.xp import find_xp
from audiocraft_export.pipeline.export import export, export_checkpoint, export_experiment, export_xp, plan_export


def test_every_way_to_one_checkpoint_makes_the_same_files(make_xp, dora_dir, tmp_path):
    path = make_xp() / "checkpoint.th"
    checkpoint = open_checkpoint(path)
    plan = plan_export(checkpoint, path.parent, tmp_path / "plan", ExportOptions(), dora_dir)
    assert not (tmp_path / "plan").exists() and "state_dict.bin" in plan.sizes
    reports = [export_xp(SIG, dora_dir), export_checkpoint(path, tmp_path / "file"),
               export_experiment(find_xp(SIG, dora_dir), ExportOptions(folder=tmp_path / "found")),
               export(checkpoint, path.parent, tmp_path / "open", ExportOptions())]
    assert len({report.files[0].read_bytes() for report in reports}) == 1
    assert {report.manifest.sig for report in reports} == {SIG} and all(report.written for report in reports)
