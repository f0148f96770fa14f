"""Export experiments of the real `dora` with the command: later, without the project, from any folder."""

import json
import shutil
import subprocess

import pytest
import torch
from helpers import change_config, command, dora, last_sentence, load, only_xp, started
from omegaconf import OmegaConf


def test_hook_and_command_make_the_same_bytes(project):
    root = project()
    assert dora("run", "export=true", cwd=root).returncode == 0
    xp = only_xp(root)
    assert command("run", xp.name, "--folder", "byhand", cwd=root).returncode == 0
    assert (root / "byhand" / "state_dict.bin").read_bytes() == (xp / "export" / "state_dict.bin").read_bytes()


@pytest.mark.parametrize(("old", "new"), [("epochs: 2", "epochs: 3"), ("lr: 0.5\n", ""), ("label: null", "label: x")])
def test_an_old_experiment_is_exported_with_the_configuration_of_its_day(project, old, new):
    root = project()
    assert dora("run", "lr=0.75", cwd=root).returncode == 0
    xp = only_xp(root)
    cfg = torch.load(xp / "checkpoint.th", weights_only=False)["xp.cfg"]
    change_config(root, old, new)
    result = command("run", xp.name, "--dora-dir", "outputs", cwd=root)
    assert result.returncode == 0, result.stderr
    assert load(xp / "export" / "state_dict.bin")["xp.cfg"] == OmegaConf.to_yaml(cfg)


def test_an_experiment_outlives_its_training_package(project):
    root = project()
    assert dora("run", cwd=root).returncode == 0
    xp = only_xp(root)
    shutil.rmtree(root / "proj")
    result = command("run", xp.name[:5], "--dora-dir", "outputs", cwd=root)
    assert result.returncode == 0, result.stderr
    assert json.loads((xp / "export" / "export.json").read_text())["sig"] == xp.name


def test_the_dora_folder_is_that_of_the_option_the_package_the_environment_or_outputs(project):
    root = project(dora_dir="somewhere")
    assert dora("run", cwd=root).returncode == 0
    (xp,) = (root / "somewhere" / "xps").iterdir()
    release = xp / "export" / "state_dict.bin"
    for args, env in ((["--dora-dir", "somewhere"], {}), (["-P", "proj"], {}),
                      ([], {"AUDIOCRAFT_DORA_DIR": str(root / "somewhere")}), ([], {"DORA_PACKAGE": "proj"}),
                      (["-P", "proj"], {"AUDIOCRAFT_DORA_DIR": "nowhere"})):
        result = started("audiocraft_export", "run", xp.name, *args, cwd=root, **env)
        assert result.returncode == 0, result.stderr
        release.unlink()
    assert command("run", xp.name, cwd=root).returncode == 1
    result = started("audiocraft_export", "run", xp.name, "-P", "nowhere", cwd=root)
    assert "nowhere.train" in last_sentence(result) and len(result.stderr.splitlines()) == 2


def test_epochs_that_were_not_stored_are_reported(project):
    root = project()
    assert dora("run", cwd=root).returncode == 0
    history = only_xp(root) / "history.json"
    history.write_text(json.dumps([*json.loads(history.read_text()), {}, {}]))
    result = command("run", only_xp(root).name, cwd=root)
    assert "history.json has 4 epochs, but the checkpoint has 2" in result.stderr


def test_the_manifest_has_the_commit_that_dora_ran(project):
    root = project()
    (root / ".gitignore").write_text("outputs\n__pycache__\n")
    for argv in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *argv], cwd=root, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, text=True, capture_output=True).stdout
    assert dora("run", "export=true", cwd=root).returncode == 0
    manifest = only_xp(root) / "export" / "export.json"
    assert json.loads(manifest.read_text())["git"] is None  # Dora recorded nothing
    manifest.unlink()
    result = dora("run", "--git_save", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert json.loads(manifest.read_text())["git"] == {"commit": commit.strip(), "dirty": False}
