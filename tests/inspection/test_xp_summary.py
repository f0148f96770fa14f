"""Summaries of experiments that need no checkpoint."""

import json

from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.inspection.xp_summary import summarize_xp


def test_an_experiment_without_any_file_is_summarized(tmp_path):
    folder = tmp_path / "xps" / "11111111"
    folder.mkdir(parents=True)
    found = summarize_xp(Experiment.from_folder(folder)).to_dict()
    assert found.pop("changed") == folder.stat().st_mtime
    assert found == {"target": "11111111", "sig": "11111111", "solver": None, "xp": str(folder), "overrides": None,
                     "epochs": 0, "planned_epochs": None, "metric": None, "best": None, "best_epoch": None,
                     "last": None, "checkpoint": None, "checkpoint_bytes": None, "other_checkpoints": 0,
                     "folder": str(folder / "export"), "state": "none", "options": {}, "bytes": None,
                     "nonfinite": None, "warnings": []}
    assert summarize_xp(Experiment.from_folder(tmp_path / "nowhere")).changed == 0


def test_addresses_on_a_command_line_are_summarized_without_credentials(tmp_path):
    (tmp_path / ".argv.json").write_text('["data=http://joe:pw@host/x", 3]')
    assert summarize_xp(Experiment.from_folder(tmp_path)).overrides == ["data=http://host/x", "3"]


def test_the_choices_of_hydra_are_read_again_each_time(tmp_path):
    (tmp_path / "history.json").write_text(json.dumps([{"valid": {"ce": 2.0, "loss": 3.0}}]))
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(
        "solver: ${hydra:runtime.choices.solver}\ncompression_model_checkpoint: //sig/c0dec001\ndiffusion_unet: 1\n"
        "schedule: 1\nprocessor: 1\n")
    metrics = []
    for solver in ("musicgen", "diffusion"):
        (tmp_path / ".hydra" / "hydra.yaml").write_text(
            f"hydra:\n  runtime:\n    choices:\n      solver: {solver}\n")
        metrics.append(summarize_xp(Experiment.from_folder(tmp_path)).metric)
    assert metrics == ["ce", "loss"]
