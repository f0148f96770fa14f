"""The command that an error after a training offers."""

import json
import os
import re
import shlex
import shutil
from types import SimpleNamespace

import pytest
import torch
from helpers import SIG, SOLVER, change_config, command, dora, flip_bit, last_sentence, model_state, only_xp, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp
from audiocraft_export.cli.main import main
from audiocraft_export.errors import ExperimentError
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.hooks.recovery import export_command, failure_after_training, working_options
from audiocraft_export.storage import writer

from .solvers import OF_MIXIN


@pytest.mark.parametrize("solver", [SOLVER, OF_MIXIN], ids=["plain", "mixin"])
def test_a_failed_export_reports_that_the_training_is_safe_and_how_to_export_later(project, solver):
    root = project(solver=solver)
    said = last_sentence(dora("run", "export=true", "exporter.weights=model.x", cwd=root))
    xp = only_xp(root)
    assert f"safe in {xp}" in said
    later = said[said.index("audiocraft-export run"):].split()
    assert command(*later[1:], cwd=root.parent).returncode == 0
    assert (xp / "export" / "state_dict.bin").exists()


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(("weights", "trains", "code"), [("model.x", True, "missing-weights"),
                                                         ("lats", False, "missing-weights")])
def test_hydra_shows_a_traceback_of_a_user_error_only_on_request(project, weights, trains, code, wrapped):
    config = "" if wrapped else "export: false\nexporter: {weights: best}\n"
    root = project(solver=OF_MIXIN, wrapped=wrapped, config=config)
    result = dora("run", "export=true", f"exporter.weights={weights}", cwd=root)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in result.stderr.splitlines()]
    assert weights in last_sentence(result) and ("TRAINING" in result.stdout) is trains  # without a traceback
    error, *hint = lines[next(at for at, line in enumerate(lines) if "error[" in line):]
    assert error.startswith("Export: error[") and all(line.startswith("Export:   hint: ") for line in hint)
    assert not trains or f"error[{code}]" in error and len(hint) == 1
    full = dora("run", "export=true", f"exporter.weights={weights}", "lr=2", cwd=root, HYDRA_FULL_ERROR="1")
    assert full.returncode == 1 and "Traceback" in full.stderr and "Error: " in full.stderr.splitlines()[-1]


def test_export_only_by_signature_refuses_after_a_drift_and_names_the_command_that_works(project):
    root = project()
    assert dora("run", "lr=0.75", cwd=root).returncode == 0
    xp = only_xp(root)
    assert dora("run", "-f", xp.name, "export=only", cwd=root).returncode == 0
    shutil.rmtree(xp / "export")
    for old, new, only in (("lr: 0.5", "lr: 0.75", "export=only"), ("lr: 0.75\n", "", "++export='only'")):
        change_config(root, old, new)  # the first change gives another signature, the second one cannot be composed
        said = last_sentence(dora("run", "-f", xp.name, only, cwd=root))
        assert f"audiocraft-export run {xp.name} --dora-dir {root / 'outputs'}" in said
        assert not (xp / "export").exists() and only_xp(root) == xp
    later = said[said.index("audiocraft-export run"):].split()
    assert command(*later[1:], cwd=root.parent).returncode == 0
    assert json.loads((xp / "export" / "export.json").read_text())["sig"] == xp.name


def test_the_named_command_works_in_a_shell_whatever_the_dora_folder_is_called(project):
    root = project(dora_dir="my outputs")
    change_config(root, "  exclude:", "  xps: experiments\n  exclude:")
    said = last_sentence(dora("run", "export=true", "exporter.checkpoint=9", "exporter.weights=last", cwd=root))
    words = shlex.split(said[said.index("audiocraft-export run"):])
    result = command(*words[1:], cwd=root)
    assert result.returncode == 0, result.stderr
    (xp,) = (root / "my outputs" / "experiments").iterdir()
    assert json.loads((xp / "export" / "export.json").read_text())["weights"] == "model"


@pytest.mark.parametrize(("names", "says"), [
    (["checkpoint.th", "checkpoint_9.th"], f"run {SIG} --dora-dir"), (["checkpoint_9.th", "checkpoint_10.th"], " 10"),
    (["checkpoint_best.th", "checkpoint_2.th"], " 2"), (["checkpoint_best.th"], " best")])
def test_the_offered_command_uses_an_existing_checkpoint(make_xp, names, says):
    for name in names:
        folder = make_xp(name=name)
    error = failure_after_training(ExportError("read-failed", "No"), Experiment(folder, SIG), ExportOptions())
    assert error.code == "read-failed" and error.message.endswith(f"are safe in {folder}, but its export failed: No")
    assert error.hint.startswith("export it with: audiocraft-export run ")
    assert says in f"{error.hint}" and ("--checkpoint" in error.hint) is ("checkpoint.th" not in names)


def test_a_training_without_checkpoints_gets_a_hint(tmp_path):
    for kind, is_told in ((ExperimentError, True), (ExportError, False)):
        error = failure_after_training(kind("read-failed", "No", "do it"), Experiment(tmp_path, SIG), ExportOptions())
        assert error.code == "read-failed" and "it stored no checkpoint and its export failed: No" in error.message
        assert ("store checkpoints" in error.hint) is is_told and (error.hint == "do it") is not is_told


def test_the_command_for_a_copy_of_an_xp_folder_names_its_path(tmp_path):
    words = shlex.split(export_command(Experiment(tmp_path / "a copy", None), ExportOptions(weights="last")))
    assert words == ["audiocraft-export", "run", str(tmp_path / "a copy"), "--weights", "last"]


OTHER = "9357e12e"
LM = with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")


def release_of_another(make_xp, folder):
    export_checkpoint(make_xp(OTHER) / "checkpoint.th", folder)


def with_a_damaged_checkpoint(make_xp, folder):
    make_xp(name="checkpoint_1.th")
    flip_bit(make_xp() / "checkpoint.th", model_state(3)["emb.0.weight"])


@pytest.mark.parametrize(("options", "sections", "flags", "prepare"), [
    ({"weights": "ema"}, {"ema": ...}, "", None),
    ({"weights": "ema"}, {"ema": ..., "best_state": ...}, "--weights last", None),
    ({}, {"best_state": {}}, "--weights last", None), ({"weights": "nothing.there"}, {}, "", None),
    ({"checkpoint": "99"}, {}, "", None), ({"checkpoint": "99", "dtype": "float16"}, {}, "--dtype float16", None),
    ({"folder": "file"}, {}, "", lambda make_xp, folder: folder.touch()),
    ({"folder": "file/in/it"}, {}, "", lambda make_xp, folder: folder.parents[1].touch()),
    ({"folder": "/proc/1/x"}, {}, "", None), ({"folder": "x" * 300}, {}, "", None),
    ({"folder": "outputs"}, {}, "", None), ({"folder": f"outputs/xps/{SIG}", "force": True}, {}, "--force", None),
    ({"folder": "theirs"}, {}, "", release_of_another),
    ({}, {}, "--force", lambda make_xp, folder: release_of_another(make_xp, make_xp() / "export")),
    ({"family": "musicgen"}, {}, "", None), ({}, {"xp.cfg": LM}, "--codec none", None),
    ({"format": "transformers"}, {}, "", None), ({"verify": "load"}, {}, "", None),
    ({"config": "no.yaml"}, {}, "", None),
    ({}, {}, "--checkpoint 1", with_a_damaged_checkpoint),
    ({"weights": "ema", "folder": "outputs", "verify": "load", "checkpoint": "9"}, {"ema": ...}, "", None),
], ids=lambda value: getattr(value, "__name__", str(value)))
def test_the_named_command_succeeds_whatever_the_cause(make_xp, dora_dir, tmp_path, options, sections, flags, prepare):
    make_xp(**sections)
    options = {name: str(tmp_path / value) if name == "folder" else value for name, value in options.items()}
    if prepare:
        prepare(make_xp, tmp_path / options.get("folder", ""))
    with pytest.raises(ExportError) as failed:
        export_xp(SIG, dora_dir, ExportOptions(**options))
    error = failure_after_training(failed.value, Experiment(dora_dir / "xps" / SIG, SIG), ExportOptions(**options))
    assert error.code == failed.value.code and error.message.endswith(failed.value.message)
    words = shlex.split(error.hint[error.hint.index("audiocraft-export run"):])
    assert " ".join(words[5:]) == flags
    with pytest.raises(SystemExit) as done:
        main(words[1:])
    assert done.value.code == 0 and (dora_dir / "xps" / SIG / "export" / "state_dict.bin").exists()


@pytest.mark.parametrize("damage", [lambda path: None, lambda path: os.truncate(path, 300)], ids=["intact", "damaged"])
def test_the_named_command_never_releases_what_was_removed(make_xp, dora_dir, damage):
    folder = make_xp(**{"xp.cfg": with_cfg(note="SECRET")})
    export_xp(SIG, dora_dir, scrub=["note"])
    damage(folder / "export" / "export.json")
    with pytest.raises(ExportError) as failed:
        export_xp(SIG, dora_dir)
    error = failure_after_training(failed.value, Experiment(folder, SIG), ExportOptions())
    assert error.hint.startswith(f"run audiocraft-export run {SIG} --dora-dir {dora_dir}, and add --scrub note ")


def test_after_an_unrelated_failure_the_same_command_is_offered(make_xp, tmp_path):
    asked = ExportOptions(folder=tmp_path / "r", dtype="float16", scrub=["user"])
    assert working_options(Experiment(make_xp(), SIG), asked) == asked


def test_a_full_disk_offers_the_default_folder_or_a_retry(make_xp, tmp_path, monkeypatch):
    xp, asked = Experiment(make_xp(), SIG), ExportOptions(folder=tmp_path / "r")
    for full, folder in (({tmp_path}, None), ({tmp_path, xp.folder}, asked.folder)):
        monkeypatch.setattr(writer.shutil, "disk_usage", lambda path, full=full: SimpleNamespace(
            total=1 << 40, free=0 if path in full else 1 << 40))
        assert working_options(xp, asked).folder == folder


def test_no_command_is_named_where_none_can_succeed(make_xp):
    folder = make_xp()
    (folder / "checkpoint.th").write_bytes(b"")
    error = failure_after_training(ExportError("read-failed", "No", "do it"), Experiment(folder, SIG), ExportOptions())
    assert error.message.endswith("its export failed: No") and error.hint == "do it"


def test_if_the_same_options_can_succeed_the_hint_of_the_cause_comes_first(make_xp):
    xp, cause = Experiment(make_xp(), SIG), ExportError("disk-full", "The disk is full", "free some space")
    hint = failure_after_training(cause, xp, ExportOptions(dtype="float16")).hint
    assert hint.startswith("free some space, then export it with: audiocraft-export run ")
    hint = failure_after_training(cause, xp, ExportOptions(checkpoint=9)).hint
    assert hint.startswith("export it with: audiocraft-export run ")


def test_a_dtype_that_overflows_is_not_offered_again(make_xp, dora_dir):
    folder = make_xp(best_state={"model": {"weight": torch.full((2,), 1e9)}})
    options = ExportOptions(dtype="float16", format="safetensors")
    with pytest.raises(ExportError) as failed:
        export_xp(SIG, dora_dir, options)
    assert failed.value.code == "dtype-overflow"
    hint = failure_after_training(failed.value, Experiment(folder, SIG), options).hint
    assert hint == f"export it with: audiocraft-export run {SIG} --dora-dir {dora_dir} --format safetensors"
    with pytest.raises(SystemExit) as done:
        main(shlex.split(hint.partition(": ")[2])[1:])
    assert done.value.code == 0


def test_a_failed_push_keeps_its_code_and_its_hint(make_xp):
    xp, cause = Experiment(make_xp(), SIG), ExportError("push-failed", "The Hub is down", "push it with: x")
    error = failure_after_training(cause, xp, ExportOptions(hub="me/mine"))
    assert (error.code, error.hint) == ("push-failed", "push it with: x")
    assert error.message.endswith("but its release was not pushed: The Hub is down")


def test_after_a_push_that_failed_the_command_that_pushes_is_the_only_one(make_xp, dora_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    folder, options = make_xp(), ExportOptions(hub="me/mine", folder=tmp_path / "r", force=True)
    with pytest.raises(ExportError, match="no token for the Hub") as failed:
        export_xp(SIG, dora_dir, options)
    error = failure_after_training(failed.value, Experiment(folder, SIG), options)
    said = str(error)
    assert error.code == "push-failed" and error.hint == failed.value.hint and "was not pushed: " in error.message
    assert said.count("audiocraft-export") == 1 and "--push-to-hub me/mine" in said and "--force" not in said


def test_the_command_exports_a_section_of_another_name_and_says_so(make_xp):
    xp = Experiment(make_xp(best_state=..., model=..., ema=..., unet={"w": torch.ones(2)}), SIG)
    failed = failure_after_training(ExportError("missing-weights", "no best state"), xp, ExportOptions())
    assert failed.hint.startswith("export weights=unet instead with: audiocraft-export run 0123abcd ")
    assert " --weights unet" in failed.hint and working_options(xp, ExportOptions()).weights == "unet"
