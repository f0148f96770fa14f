"""Export an experiment, a file or a state, all with the same plan."""

import pytest
from helpers import SIG

from audiocraft_export import ExportOptions
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.errors import OptionError
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


def test_options_are_keywords_that_override_an_options_object(make_xp, dora_dir, tmp_path):
    path = make_xp() / "checkpoint.th"
    options = ExportOptions(weights="ema", dtype="float16")
    for report in (export_xp(SIG, dora_dir, options, dtype="bfloat16", folder=tmp_path / "xp"),
                   export_checkpoint(path, tmp_path / "file", options, dtype="bfloat16")):
        assert report.manifest.weights == "ema" and report.manifest.dtypes == {"bfloat16": 2, "int64": 1}
    assert export_xp(SIG, dora_dir, weights="last").manifest.weights == "model"


@pytest.mark.parametrize("export", [lambda path, **keywords: export_xp(SIG, path.parents[2], **keywords),
                                    lambda path, **keywords: export_checkpoint(path, **keywords)])
def test_an_unknown_keyword_or_value_is_refused_before_anything_is_written(make_xp, export):
    path = make_xp() / "checkpoint.th"
    with pytest.raises(OptionError, match="Unknown option dtyp. Did you mean dtype?"):
        export(path, dtyp="float16")
    with pytest.raises(OptionError, match="Invalid value 'float1' for dtype"):
        export(path, dtype="float1")
    assert not (path.parent / "export").exists()


def test_the_folder_of_a_checkpoint_is_optional(make_xp, tmp_path):
    path = make_xp() / "checkpoint.th"
    assert export_checkpoint(path).folder == path.parent / "export"
    assert export_checkpoint(path, options=ExportOptions(folder=tmp_path / "a")).folder == tmp_path / "a"


def test_the_dora_folder_is_found_from_inside_of_it(make_xp, monkeypatch):
    monkeypatch.chdir(make_xp())
    assert export_xp(SIG).folder.name == "export"
