"""The command that an error after a training names."""

import json
import shlex
import shutil

import pytest
from helpers import SIG, change_config, command, dora, last_sentence, only_xp

from audiocraft_export import ExportError, ExportOptions
from audiocraft_export.errors import ExperimentError
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.hooks.recovery import export_command, failure_after_training


def test_a_failed_export_says_that_the_training_is_safe_and_how_to_export_later(project):
    root = project()
    (root / "file").touch()
    said = last_sentence(dora("run", "export=true", "exporter.folder=file", cwd=root))
    xp = only_xp(root)
    assert f"safe in {xp}" in said
    later = said[said.index("audiocraft-export run"):].split()
    assert command(*later[1:], cwd=root.parent).returncode == 0
    assert (xp / "export" / "state_dict.bin").exists()


def test_export_only_by_signature_refuses_after_a_drift_and_names_the_command_that_works(project):
    root = project()
    assert dora("run", "lr=0.75", cwd=root).returncode == 0
    xp = only_xp(root)
    assert dora("run", "-f", xp.name, "export=only", cwd=root).returncode == 0
    shutil.rmtree(xp / "export")
    for old, new, only in (("lr: 0.5", "lr: 0.75", "export=only"), ("lr: 0.75\n", "", "++export='only'")):
        change_config(root, old, new)  # the first gives another signature, the second none at all
        said = last_sentence(dora("run", "-f", xp.name, only, cwd=root))
        assert f"audiocraft-export run {xp.name} --dora-dir {root / 'outputs'}" in said
        assert not (xp / "export").exists() and only_xp(root) == xp
    later = said[said.index("audiocraft-export run"):].split()
    assert command(*later[1:], cwd=root.parent).returncode == 0
    assert json.loads((xp / "export" / "export.json").read_text())["sig"] == xp.name


def test_the_named_command_works_in_a_shell_whatever_the_dora_folder_is_called(project):
    root = project(dora_dir="my outputs")
    change_config(root, "  exclude:", "  xps: experiments\n  exclude:")
    (root / "file").touch()
    said = last_sentence(dora("run", "export=true", "exporter.folder=file", "exporter.weights=last", cwd=root))
    words = shlex.split(said[said.index("audiocraft-export run"):])
    result = command(*words[1:], cwd=root)
    assert result.returncode == 0, result.stderr
    (xp,) = (root / "my outputs" / "experiments").iterdir()
    assert json.loads((xp / "export" / "export.json").read_text())["weights"] == "model"


@pytest.mark.parametrize(("names", "says"), [
    (["checkpoint.th", "checkpoint_9.th"], f"run {SIG} --dora-dir"), (["checkpoint_9.th", "checkpoint_10.th"], " 10"),
    (["checkpoint_best.th", "checkpoint_2.th"], " 2"), (["checkpoint_best.th"], " best")])
def test_the_named_command_takes_a_checkpoint_that_there_is(make_xp, names, says):
    for name in names:
        folder = make_xp(name=name)
    error = failure_after_training(ExportError("No."), Experiment(folder, SIG), ExportOptions())
    assert f"are safe in {folder}, but its export failed: No. To export it later: audiocraft-export run" in str(error)
    assert says in str(error) and ("--checkpoint" in str(error)) is ("checkpoint.th" not in names)


def test_a_training_that_stored_nothing_is_told_what_to_do_if_that_is_why(tmp_path):
    for kind, is_told in ((ExperimentError, True), (ExportError, False)):
        error = failure_after_training(kind("No."), Experiment(tmp_path, SIG), ExportOptions())
        assert "it stored no checkpoint and its export failed: No." in str(error)
        assert ("Store checkpoints" in str(error)) is is_told


def test_the_command_for_a_copy_of_an_xp_folder_names_its_path(tmp_path):
    words = shlex.split(export_command(Experiment(tmp_path / "a copy", None), ExportOptions(weights="last")))
    assert words == ["audiocraft-export", "run", str(tmp_path / "a copy"), "--weights", "last"]
