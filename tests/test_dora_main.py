"""`with_export` under the real `dora`: signatures, hooks, failures."""

import json
import shlex
import shutil
from textwrap import dedent

import pytest
import torch
from helpers import SOLVER, command, dora, load, only_xp, started
from omegaconf import OmegaConf

from audiocraft_export import ExportError, with_export

SIGNATURES = """
    import json, sys
    from {package}.train import main
    print(json.dumps([main.get_xp(argv).sig for argv in json.loads(sys.argv[1])]))
"""


def signatures(root, package, *argvs):
    script = dedent(SIGNATURES).format(package=package)
    (root / "signatures.py").write_text(script)
    result = started("signatures", json.dumps(argvs), cwd=root)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def sentence(result, code=1):
    """The last line on stderr of a run that was refused."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.splitlines()[-1]


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
    assert len(shas) == 2  # as stored, and in float16
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


GRID = """
    from dora import Explorer

    @Explorer
    def explorer(launcher):
        launcher.bind_({bound})
        launcher(lr=0.1)
        launcher({{"lr": 0.2, "label": "a b"}})
"""


@pytest.mark.parametrize("bound", [
    '{"export": True}', 'export=True, exporter="float16"', '["export=true", {"exporter.dtype": "float16"}]',
    '{"exporter": {"dtype": "float16", "folder": "a b"}, "export": "only"}'])
def test_a_grid_may_bind_our_keys_in_each_of_dora_s_ways(project, bound):
    root = project()
    project("plain", wrapped=False)
    tables = []
    for package, text in (("plain", ""), ("proj", bound)):
        (root / package / "grids").mkdir()
        (root / package / "grids" / "__init__.py").touch()
        (root / package / "grids" / "sweep.py").write_text(dedent(GRID).format(bound=text))
        result = dora("grid", "sweep", "--dry_run", "--no_monitoring", cwd=root, package=package)
        assert result.returncode == 0, result.stderr
        tables.append(result.stdout)
    assert tables[0] == tables[1] and tables[0].count("lr=0.") == 2


def test_a_group_of_the_project_may_set_export_and_exporter(project, tmp_path):
    root = project()
    folder = root / "proj" / "conf" / "variant"
    folder.mkdir()
    (folder / "small.yaml").write_text("# @package _global_\nexport: true\nexporter:\n  dtype: float16\n")
    result = dora("run", "+variant=small", "exporter.verify=none", cwd=root)
    assert result.returncode == 0, result.stderr
    state = load(only_xp(root) / "export" / "state_dict.bin")["best_state"]
    assert state["weight"].dtype == torch.float16
    assert dora("run", "+variant=small", "exporter=default", cwd=root).returncode == 0
    state = load(only_xp(root) / "export" / "state_dict.bin")["best_state"]
    assert state["weight"].dtype == torch.float32


@pytest.mark.parametrize(("package", "config_path", "config_name", "version_base"), [
    ("a.b.c", "conf", "config", "1.1"), ("proj", "../settings/deep", "main", None), ("proj", "conf", "config", "1.2"),
    ("proj", "conf", "config", "absent")])
def test_every_layout_that_dora_accepts_exports(project, package, config_path, config_name, version_base):
    root = project(package, config_path=config_path, config_name=config_name, version_base=version_base)
    result = dora("run", "export=true", "exporter.folder=here", cwd=root, package=package)
    assert result.returncode == 0, result.stderr
    assert (root / "here" / "export.json").exists()
    sig = only_xp(root).name
    module = started(f"{package}.train", "export=only", cwd=root)
    assert module.returncode == 0, module.stderr
    assert only_xp(root).name == sig and (root / "outputs" / "xps" / sig / "export" / "export.json").exists()


def test_a_trained_xp_is_exported_without_a_training_step_and_only_once(project):
    root = project()
    assert "TRAINING 2" in dora("run", cwd=root).stdout
    first = dora("run", "export=true", cwd=root)
    assert first.returncode == 0 and "TRAINING" not in first.stdout
    release = only_xp(root) / "export"
    before = {path.name: path.stat().st_mtime_ns for path in release.iterdir()}
    second = dora("run", "export=true", cwd=root)
    assert "already exported" in second.stderr and "already exported" not in first.stderr
    assert before == {path.name: path.stat().st_mtime_ns for path in release.iterdir()}


def test_hook_and_command_make_the_same_bytes(project):
    root = project()
    assert dora("run", "export=true", cwd=root).returncode == 0
    xp = only_xp(root)
    assert command("run", xp.name, "--folder", "byhand", cwd=root).returncode == 0
    assert (root / "byhand" / "state_dict.bin").read_bytes() == (xp / "export" / "state_dict.bin").read_bytes()


def test_a_failed_training_leaves_an_earlier_release_untouched(project):
    root = project()
    assert dora("run", "export=true", cwd=root).returncode == 0
    xp = only_xp(root)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (xp / "export").iterdir()}
    history = json.loads((xp / "history.json").read_text())
    state = torch.load(xp / "checkpoint.th", weights_only=False)
    torch.save({**state, "history": history[:1]}, xp / "checkpoint.th")
    result = dora("run", "export=true", "fail=true", cwd=root)
    assert result.returncode != 0 and "meant to fail" in result.stderr
    assert before == {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (xp / "export").iterdir()}


def test_a_failed_first_training_makes_no_release(project):
    root = project()
    assert dora("run", "export=true", "fail=true", cwd=root).returncode != 0
    assert not (only_xp(root) / "export").exists()


def test_export_only_without_a_checkpoint_is_one_sentence_and_makes_no_xp(project):
    root = project()
    assert "no checkpoint" in sentence(dora("run", "export=only", cwd=root))
    assert not (root / "outputs" / "xps").exists()


def test_a_failed_export_says_that_the_training_is_safe_and_how_to_export_later(project):
    root = project()
    (root / "file").touch()
    said = sentence(dora("run", "export=true", "exporter.folder=file", cwd=root))
    xp = only_xp(root)
    assert f"safe in {xp}" in said
    later = said[said.index("audiocraft-export run"):].split()
    assert command(*later[1:], cwd=root.parent).returncode == 0
    assert (xp / "export" / "state_dict.bin").exists()


@pytest.mark.parametrize(("override", "says"), [
    ("export=maybe", "false, true or only"), ("export=1", "false, true or only"),
    ("export=${no}", "cannot be resolved"),
    ("exporter.dtype=int3", "null, float32, float16, bfloat16"), ("exporter.bogus=1", "folder, weights, checkpoint"),
    ("exporter=nope", "default float16"), ("exporter.version=1.3", "quote it")])
def test_a_wrong_option_ends_the_run_before_it_trains(project, override, says):
    root = project()
    result = dora("run", "export=true", override, cwd=root)
    assert says in sentence(result) and "TRAINING" not in result.stdout
    assert not (root / "outputs" / "xps").exists()


def test_packages_that_the_export_needs_are_missed_before_the_training(project):
    solver = SOLVER + "\n    from audiocraft_export.formats import requirements\n    requirements.find_spec = lambda name: None\n"
    result = dora("run", "export=true", "exporter=safetensors", cwd=project(solver=solver))
    assert "needs safetensors and huggingface_hub" in sentence(result) and "TRAINING" not in result.stdout


def test_a_project_can_export_by_default(project):
    root = project(config="export: true\nexporter:\n  weights: last\n")
    assert dora("run", cwd=root).returncode == 0
    manifest = json.loads((only_xp(root) / "export" / "export.json").read_text())
    assert manifest["options"]["weights"] == "last"
    assert dora("run", "exporter.dtype=float16", "epochs=1", "export=false", cwd=root).returncode == 0
    assert len(list((root / "outputs" / "xps").glob("*/export"))) == 1


@pytest.mark.parametrize("config", ["export: true\n", "export: null\n"])
def test_a_project_may_choose_from_our_group_in_its_defaults(project, config):
    root = project(config=config + "defaults:\n  - exporter: float16\n  - _self_\n")
    result = dora("run", *([] if "true" in config else ["export=true"]), cwd=root)
    assert result.returncode == 0, result.stderr
    assert load(only_xp(root) / "export" / "state_dict.bin")["best_state"]["weight"].dtype == torch.float16


@pytest.mark.parametrize("config", ["export:\n  format: onnx\n", "export: onnx\n", "exporter: 3\n", "group"])
def test_a_project_that_uses_our_keys_for_something_else_is_told_at_start(project, config):
    root = project(config="" if config == "group" else config)
    if config == "group":
        (root / "proj" / "conf" / "export").mkdir()
        (root / "proj" / "conf" / "export" / "onnx.yaml").write_text("a: 1\n")
    result = dora("run", cwd=root)
    assert "export" in sentence(result) and "TRAINING" not in result.stdout


def test_only_a_hydra_main_can_be_wrapped():
    with pytest.raises(ExportError, match="above @hydra_main"):
        with_export(lambda cfg: None)


def drift(root, old, new):
    path = root / "proj" / "conf" / "config.yaml"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(("old", "new"), [("epochs: 2", "epochs: 3"), ("lr: 0.5\n", ""), ("label: null", "label: x")])
def test_an_old_experiment_is_exported_with_the_configuration_of_its_day(project, old, new):
    root = project()
    assert dora("run", "lr=0.75", cwd=root).returncode == 0
    xp = only_xp(root)
    cfg = torch.load(xp / "checkpoint.th", weights_only=False)["xp.cfg"]
    drift(root, old, new)
    result = command("run", xp.name, "--dora-dir", "outputs", cwd=root)
    assert result.returncode == 0, result.stderr
    assert load(xp / "export" / "state_dict.bin")["xp.cfg"] == OmegaConf.to_yaml(cfg)


def test_export_only_by_signature_refuses_after_a_drift_and_names_the_command_that_works(project):
    root = project()
    assert dora("run", "lr=0.75", cwd=root).returncode == 0
    xp = only_xp(root)
    assert dora("run", "-f", xp.name, "export=only", cwd=root).returncode == 0
    shutil.rmtree(xp / "export")
    for old, new, only in (("lr: 0.5", "lr: 0.75", "export=only"), ("lr: 0.75\n", "", "++export='only'")):
        drift(root, old, new)  # the first gives another signature, the second none at all
        said = sentence(dora("run", "-f", xp.name, only, cwd=root))
        assert f"audiocraft-export run {xp.name} --dora-dir {root / 'outputs'}" in said
        assert not (xp / "export").exists() and only_xp(root) == xp
    later = said[said.index("audiocraft-export run"):].split()
    assert command(*later[1:], cwd=root.parent).returncode == 0
    assert json.loads((xp / "export" / "export.json").read_text())["sig"] == xp.name


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
    assert "nowhere.train" in sentence(result) and len(result.stderr.splitlines()) == 1


def test_a_run_that_trains_nothing_exports_nothing_and_says_so(project):
    root = project(config="show: false\nexecute_only: null\n")
    assert dora("run", "+a=1", cwd=root).returncode == 0
    for override in ("show=true", "execute_only=generate"):
        result = dora("run", "+a=1", override, "export=true", cwd=root)
        assert result.returncode == 0 and f"nothing was trained ({override.split('=')[0]}" in result.stderr.replace(
            "True", "true")
        assert not list((root / "outputs" / "xps").glob("*/export"))


def test_ddp_workers_write_one_release_from_rank_zero(project):
    solver = SOLVER.replace("super().__init__()", 'super().__init__()\n            flashy.distrib.init("gloo")', 1)
    root = project(solver=solver)
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("exported") == 1
    assert sorted(path.name for path in (only_xp(root) / "export").iterdir()) == ["export.json", "state_dict.bin"]
    assert "exported" not in (only_xp(root) / "worker_1.log").read_text()


PICKLED = """
    import pickle
    from {package}.train import main
    stored = pickle.dumps(main)
    assert pickle.loads(stored) is main and b"{package}.train.main" in stored and len(stored) < 99, stored
"""


def test_what_slurm_jobs_are_started_with_is_the_name_of_the_wrapped_main(project):
    root = project()
    (root / "wrapper").mkdir()
    (root / "wrapper" / "train.py").write_text("from audiocraft_export import with_export\nimport proj.train\n"
                                               "main = with_export(proj.train.main, module=__name__)\n")
    for package in ("proj", "wrapper"):
        (root / "pickled.py").write_text(dedent(PICKLED).format(package=package))
        result = started("pickled", cwd=root)
        assert result.returncode == 0, result.stderr


def test_a_main_that_was_called_otherwise_is_found_by_its_new_name(project):
    root = project()
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace("@with_export\n", "").replace("def main(cfg)", "def train(cfg)").replace(
        "if __name__", "main = with_export(train)\n\nif __name__"))
    (root / "pickled.py").write_text(dedent(PICKLED).format(package="proj"))
    result = started("pickled", cwd=root)
    assert result.returncode == 0, result.stderr


def test_a_multirun_of_hydra_still_knows_our_keys(project):
    root = project(solver=SOLVER.replace("Solver(cfg)", ""))
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace("Solver(cfg).run()", "print('JOB', cfg.lr, cfg.export)"))
    result = started("proj.train", "-m", "lr=1,2", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert "JOB 1 True" in result.stdout and "JOB 2 True" in result.stdout
    assert "a multirun has no XP" in result.stderr


def test_a_project_with_a_structured_root_configuration_runs_and_exports(project):
    root = project(config_name="unused")
    train = root / "proj" / "train.py"
    train.write_text(dedent("""
        from dataclasses import dataclass, field
        from hydra.core.config_store import ConfigStore

        @dataclass
        class Config:
            lr: float = 0.5
            epochs: int = 1
            dora: dict = field(default_factory=lambda: {"dir": "my outputs"})

        ConfigStore.instance().store(name="config", node=Config)
    """) + train.read_text().replace("unused", "config"))
    assert dora("run", "lr=0.75", cwd=root).returncode == 0
    result = dora("run", "lr=0.75", "export=true", "exporter=float16", cwd=root)
    assert result.returncode == 0, result.stderr
    (xp,) = (root / "my outputs" / "xps").iterdir()
    package = load(xp / "export" / "state_dict.bin")
    assert package["best_state"]["weight"].dtype == torch.float16 and "export" not in package["xp.cfg"]


def test_the_named_command_works_in_a_shell_whatever_the_dora_folder_is_called(project):
    root = project(dora_dir="my outputs")
    drift(root, "  exclude:", "  xps: experiments\n  exclude:")
    (root / "file").touch()
    said = sentence(dora("run", "export=true", "exporter.folder=file", "exporter.weights=last", cwd=root))
    words = shlex.split(said[said.index("audiocraft-export run"):])
    result = command(*words[1:], cwd=root)
    assert result.returncode == 0, result.stderr
    (xp,) = (root / "my outputs" / "experiments").iterdir()
    assert json.loads((xp / "export" / "export.json").read_text())["weights"] == "model"


@pytest.mark.parametrize("config", ["exporter:\n  weights: last\n", "exporter: null\n"])
def test_options_can_be_chosen_over_those_in_the_project_s_own_file(project, config):
    root = project(config=config)
    assert dora("run", "export=true", "exporter.dtype=float16", cwd=root).returncode == 0
    manifest = json.loads((only_xp(root) / "export" / "export.json").read_text())
    assert manifest["options"]["dtype"] == "float16"
    assert manifest["options"]["weights"] == ("last" if "last" in config else "best")
    assert dora("run", "export=only", "exporter=float16", cwd=root).returncode == 0
    manifest = json.loads((only_xp(root) / "export" / "export.json").read_text())
    assert manifest["options"]["dtype"] == "float16" and manifest["options"]["weights"] == "best"


def test_a_project_brings_its_own_choice_of_exporter(project):
    root = project()
    (root / "proj" / "conf" / "exporter").mkdir()
    (root / "proj" / "conf" / "exporter" / "mine.yaml").write_text("weights: last\n")
    assert dora("run", "export=true", "exporter=mine", cwd=root).returncode == 0
    assert json.loads((only_xp(root) / "export" / "export.json").read_text())["weights"] == "model"


def test_a_plugin_may_bring_the_defaults_of_exporter(project):
    root = project()
    (root / "team" / "exporter").mkdir(parents=True)
    (root / "team" / "exporter" / "default.yaml").write_text("weights: last\n")
    (root / "hydra_plugins").mkdir()
    (root / "hydra_plugins" / "team.py").write_text(dedent(f"""
        from hydra.plugins.search_path_plugin import SearchPathPlugin
        class Team(SearchPathPlugin):
            def manipulate_search_path(self, search_path):
                search_path.prepend("team", "file://{root / 'team'}")
    """))
    assert dora("run", "export=true", cwd=root).returncode == 0
    assert json.loads((only_xp(root) / "export" / "export.json").read_text())["weights"] == "model"


def test_a_worker_that_fails_keeps_rank_zero_from_exporting(project):
    solver = SOLVER.replace("super().__init__()", 'super().__init__()\n            flashy.distrib.init("gloo")', 1)
    root = project(solver=solver)
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace("Solver(cfg).run()", "Solver(cfg).run(); 1 / (1 - cfg.get('boom', 0) * "
                                                                    "int(__import__('os').environ['RANK']))"))
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", "+boom=1", cwd=root)
    assert result.returncode != 0
    assert not (only_xp(root) / "export").exists()


def test_a_project_s_own_kind_of_main_keeps_what_it_overrides(project):
    root = project()
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace("@hydra_main(", "@my_main(").replace("@with_export", dedent("""
        from dora.hydra import HydraMain
        class MyMain(HydraMain):
            def get_xp_history(self, xp):
                return [{"custom": 1}]
        def my_main(**kwargs):
            return lambda main: MyMain(main, **kwargs)
        @with_export""")))
    assert '{"custom": 1}' in dora("info", "-m", cwd=root).stderr


def test_a_wrapped_main_of_another_module_is_started_by_the_module_that_wraps_it(project):
    solver = SOLVER.replace("super().__init__()", 'super().__init__()\n            flashy.distrib.init("gloo")', 1)
    root = project(wrapped=False, solver=solver)
    (root / "wrapper").mkdir()
    (root / "wrapper" / "__init__.py").touch()
    (root / "wrapper" / "train.py").write_text(dedent("""
        from audiocraft_export import with_export
        from proj.train import main as stock
        main = with_export(stock, module=__name__)
        if __name__ == "__main__":
            main()
    """))
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", cwd=root, package="wrapper")
    assert result.returncode == 0, result.stderr
    assert (only_xp(root) / "export" / "export.json").exists()
    assert "already exported" in started("wrapper.train", "export=true", cwd=root).stderr


def test_what_is_wrapped_already_can_be_wrapped_again(project):
    root = project()
    (root / "wrapper").mkdir()
    (root / "wrapper" / "train.py").write_text("from audiocraft_export import with_export\nimport proj.train\n"
                                               "main = with_export(proj.train.main, module=__name__)\n")
    result = dora("run", "export=true", cwd=root, package="wrapper")
    assert result.returncode == 0 and result.stderr.count(" exported:") == 1, result.stderr


def test_a_relative_folder_is_one_of_where_dora_was_started(project):
    root = project()
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace("Solver(cfg).run()", "Solver(cfg).run(); __import__('os').chdir('/')"))
    assert dora("run", "export=true", "exporter.folder=it's \\\\ here é", cwd=root).returncode != 0  # Hydra's grammar
    result = dora("run", "export=true", "exporter.folder='it\\'s here é'", cwd=root)
    assert result.returncode == 0, result.stderr
    assert (root / "it's here é" / "export.json").exists()


def test_epochs_that_were_not_stored_are_said(project):
    root = project()
    assert dora("run", cwd=root).returncode == 0
    history = only_xp(root) / "history.json"
    history.write_text(json.dumps([*json.loads(history.read_text()), {}, {}]))
    result = command("run", only_xp(root).name, cwd=root)
    assert "history.json has 4 epochs, this checkpoint 2" in result.stderr


def test_options_may_refer_to_the_project_s_configuration(project):
    root = project(config="exporter: {folder: '${dora.dir}/releases/${label}'}")
    assert dora("info", cwd=root).returncode == 0
    result = dora("run", "label=first", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert (root / "outputs" / "releases" / "first" / "state_dict.bin").exists()
    result = dora("run", "label=first", "export=only", "exporter.folder=${dora.dir}/x", cwd=root)
    assert result.returncode == 0 and (root / "outputs" / "x" / "state_dict.bin").exists(), result.stderr


def test_an_experiment_that_was_never_trained_is_not_launched_to_be_exported(project):
    result = dora("launch", "--no_git_save", "export=only", cwd=project())
    assert "No checkpoint.th" in sentence(result)


@pytest.mark.parametrize(("code", "says"), [
    (None, "ModuleNotFoundError: No module named 'audiocraft'"),
    ("import julius_that_is_not_there", "ModuleNotFoundError: No module named 'julius_that_is_not_there'"),
    ("raise FileNotFoundError('config/teams/default.yaml')", "FileNotFoundError: config/teams/default.yaml")])
def test_without_audiocraft_its_wrapped_main_says_what_is_needed(tmp_path, code, says):
    if code:
        (tmp_path / "audiocraft").mkdir()
        (tmp_path / "audiocraft" / "__init__.py").touch()
        (tmp_path / "audiocraft" / "train.py").write_text(code)
    result = dora("run", cwd=tmp_path, package="audiocraft_export")
    assert says in sentence(result) and "stand in the folder of its clone" in sentence(result)
    asked = started("audiocraft_export", "run", "0123", "-P", "audiocraft_export", cwd=tmp_path)
    assert says in sentence(asked)
