"""What is a training checkpoint, and of which experiment."""

import pytest
import torch
from helpers import SIG, solver_state, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.cli import main as cli


def test_a_file_in_another_xp_s_folder_needs_a_folder_of_its_own(make_xp, dora_dir, tmp_path, capsys):
    path = make_xp("9357e12e", **{"xp.sig": SIG}) / "checkpoint.th"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(path)])
    assert stop.value.code == 1 and f"written by the experiment {SIG}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(path), "--folder", str(tmp_path / "out")])
    assert stop.value.code == 0 and (tmp_path / "out" / "state_dict.bin").exists()


def test_a_codec_of_another_experiment_is_refused_and_odd_names_in_one_are_said(make_xp, dora_dir):
    codec = {"xp.cfg": with_cfg(solver="compression"), "scheduler": torch.float32}
    make_xp("c0dec000", **codec, **{"xp.sig": "11111111"})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    with pytest.raises(ExportError, match="written by the experiment 11111111"):
        export_xp(SIG, dora_dir)
    make_xp("c0dec000", **codec)
    assert "torch.float32" in str(export_xp(SIG, dora_dir).manifest.warnings)


def test_a_state_that_no_solver_of_audiocraft_stores_is_still_a_training_checkpoint(tmp_path):
    torch.save({name: value for name, value in solver_state().items() if name in ("model", "xp.cfg", "xp.sig")},
               tmp_path / "checkpoint.th")
    report = export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "out", ExportOptions(weights="last"))
    assert report.manifest.epoch == 0 and "no epoch" in report.manifest.warnings[0]


def test_an_opened_checkpoint_has_its_signature_its_history_and_where_its_configuration_is_from(make_xp):
    checkpoint = open_checkpoint(make_xp() / "checkpoint.th")
    assert (checkpoint.sig, checkpoint.config_source) == (SIG, "checkpoint")
    assert checkpoint.history == solver_state()["history"] and "best_state" in checkpoint.sections.split(", ")
