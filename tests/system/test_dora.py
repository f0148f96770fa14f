"""Export experiments of the real `dora`: with the same signatures, meanwhile, later, without the project."""

import json
import shutil
import subprocess
import sys
import time
from textwrap import dedent

import pytest
import torch
from helpers import SOLVER, change_config, command, dora, last_sentence, load, only_xp, started
from omegaconf import OmegaConf

SIGNATURES = """
    import json, sys
    from {package}.train import main
    print(json.dumps([main.get_xp(argv).sig for argv in json.loads(sys.argv[1])]))
"""
WAITING = """import time
from pathlib import Path
import flashy
from dora.git_save import to_absolute_path
"""


def signatures(root, package, *argvs):
    script = dedent(SIGNATURES).format(package=package)
    (root / "signatures.py").write_text(script)
    result = started("signatures", json.dumps(argvs), cwd=root)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_signature_argv_and_configuration_are_unchanged_by_export(project, tmp_path):
    project("plain.proj", wrapped=False, root=tmp_path / "plain", config_path="../../conf")
    project("ours.proj", root=tmp_path / "ours", config_path="../../conf")
    stock = dora("run", "lr=0.25", "label='a b'", cwd=tmp_path / "plain", package="plain.proj")
    assert stock.returncode == 0, stock.stderr
    theirs = only_xp(tmp_path / "plain")
    argv = (theirs / ".argv.json").read_bytes()
    cfg = OmegaConf.to_yaml(torch.load(theirs / "checkpoint.th", weights_only=False)["xp.cfg"])
    shas = set()
    for own in (["export=true"], ["export=only"], ["export=only", "exporter.dtype=float16"],
                ["exporter=float16", "export=true"], ["export=true", "exporter.folder=elsewhere"], []):
        result = dora("run", "lr=0.25", *own, "label='a b'", cwd=tmp_path / "ours", package="ours.proj")
        assert result.returncode == 0, result.stderr
        ours = only_xp(tmp_path / "ours")
        assert ours.name == theirs.name
        assert (ours / ".argv.json").read_bytes() == argv
        package = load(ours / "export" / "state_dict.bin")
        assert package["xp.cfg"].replace("ours", "plain") == cfg.replace("ours", "plain")
        shas.add(json.loads((ours / "export" / "export.json").read_text())["files"][0]["sha256"])
    assert (tmp_path / "ours" / "elsewhere" / "state_dict.bin").exists()
    assert len(shas) == 2  # with the stored dtype, and in float16
    for verb in (["info"], ["run"]):
        assert dora(*verb, "-f", theirs.name, cwd=tmp_path / "ours", package="ours.proj").returncode == 0


def test_signatures_are_those_without_us_for_every_kind_of_override(project, tmp_path):
    argvs = [[], ["lr=1"], ["lr=1e-3", "epochs=3"], ["label=[1,2]"], ["+new=1"], ["+new={a: 1, b: [2]}"], ["model=big"],
             ["model=big", "model.dim=3"], ["label=null"], ["fail=true"], ["save_last=false", "lr=2"],
             ["+extra=one"], ["model.name='x y'"], ["label=", "lr=0.5"]]
    config = """
        defaults:
          - model: small
          - _self_
    """
    for package, wrapped in (("plain", False), ("ours", True)):
        project(package, wrapped=wrapped, config=config)
        for group, name, text in (("model", "small", "dim: 1\nname: s"), ("model", "big", "dim: 2\nname: b"),
                                  ("extra", "one", "# @package _global_\nexporter:\n  dtype: float16\nexport: true")):
            folder = tmp_path / package / "conf" / group
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.yaml").write_text(text)
    (tmp_path / "plain" / "conf" / "extra" / "one.yaml").write_text("# @package _global_\n{}")
    own = [["export=true"], ["export=only", "exporter=float16"], ["+exporter.weights=last", "exporter.folder='a b'"]]
    expected = signatures(tmp_path, "plain", *argvs)
    assert len(set(expected)) == 11
    asked = [*argvs, *([*argv, *extra] for extra in own for argv in argvs),
             *([*extra, *argv] for extra in own for argv in argvs)]
    assert signatures(tmp_path, "ours", *asked) == expected * (1 + 2 * len(own))


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
    result = dora("run", "--git_save", "export=true", cwd=root)  # trains nothing
    assert result.returncode == 0, result.stderr
    assert json.loads(manifest.read_text())["git"] is None
    for name in ("checkpoint.th", "history.json"):
        (only_xp(root) / name).unlink()
    result = dora("run", "--git_save", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert json.loads(manifest.read_text())["git"] == {"commit": commit.strip(), "dirty": False}


def test_export_only_works_during_a_training_without_disturbing_it(project):
    waits = dedent(SOLVER).replace('print("TRAINING", self.epoch)', """\
while self.epoch == 2 and not Path(to_absolute_path("go")).exists():
            time.sleep(0.05)""").replace("import flashy\n", WAITING, 1)
    root = project(solver=waits)
    training = subprocess.Popen([sys.executable, "-m", "dora", "-P", "proj", "run"], cwd=root, text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while training.poll() is None and not [*root.glob("outputs/xps/*/checkpoint.th")]:
            time.sleep(0.05)
        result = dora("run", "export=only", cwd=root)
        assert result.returncode == 0 and "exported: best_state after 1 epoch" in result.stderr, result.stderr
    finally:
        (root / "go").touch()
        said = training.communicate(timeout=60)[1]
    assert training.returncode == 0, said
    assert len(json.loads((only_xp(root) / "history.json").read_text())) == 2
    assert "exported: best_state after 2 epochs" in dora("run", "export=only", cwd=root).stderr
