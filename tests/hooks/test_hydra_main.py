"""`with_export` under the real `dora`: signatures, projects of all kinds, failures."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from helpers import SOLVER, dora, free_port, last_sentence, load, only_xp, run, run_python, started

from audiocraft_export import ExportError, verify, with_export
from audiocraft_export.errors import OptionError
from audiocraft_export.hooks.hydra_main import ExportSearchPath

from .solvers import OF_MIXIN

STRUCTURED = """
from dataclasses import dataclass, field
from typing import Any, Optional
from hydra.core.config_store import ConfigStore

@dataclass
class Exporter:
    weights: str = "best"
    sign: Optional[str] = {sign!r}

@dataclass
class Config:
    lr: float = 0.5
    epochs: int = 1
    dora: dict = field(default_factory=lambda: {{"dir": "my outputs"}})
    {keys}

ConfigStore.instance().store(name="config", node=Config)
"""
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


@pytest.mark.parametrize("ending", ["exit()", "exit(0)", "exit(False)"])
def test_a_main_that_exits_with_success_is_exported(project, ending):
    root = project()
    main = root / "proj" / "train.py"
    text = main.read_text().replace("Solver(cfg).run()", f"Solver(cfg).run()\n    import sys\n    sys.{ending}")
    main.write_text(text)
    result = dora("run", "export=true", cwd=root)
    assert result.returncode == 0 and result.stderr.count(" exported:") == 1, result.stderr
    main.write_text(text.replace(f"sys.{ending}", "sys.exit(3)"))
    result = dora("run", "export=true", "lr=0.5", cwd=root)
    assert result.returncode == 3 and "exported" not in result.stderr


def test_export_only_without_a_checkpoint_is_one_sentence_and_makes_no_xp(project):
    root = project()
    assert "was never trained" in last_sentence(dora("run", "export=only", cwd=root))
    assert not (root / "outputs" / "xps").exists()


def test_packages_that_the_export_needs_are_missed_before_the_training(project):
    solver = SOLVER + ("\n    from audiocraft_export import requirements\n"
                       "    requirements.find_spec = lambda name: None\n")
    result = dora("run", "export=true", "exporter=safetensors", cwd=project(solver=solver))
    assert "not installed: safetensors, huggingface_hub" in last_sentence(result) and "TRAINING" not in result.stdout


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
def test_a_project_with_conflicting_keys_fails_at_the_start(project, config):
    root = project(config="" if config == "group" else config)
    if config == "group":
        (root / "proj" / "conf" / "export").mkdir()
        (root / "proj" / "conf" / "export" / "onnx.yaml").write_text("a: 1\n")
    result = dora("run", cwd=root)
    assert "export" in last_sentence(result) and "TRAINING" not in result.stdout


def test_only_a_hydra_main_can_be_wrapped():
    with pytest.raises(ExportError, match="function decorated with @dora.hydra_main, got <function") as refusal:
        with_export(lambda cfg: None)
    assert refusal.value.code == "unsupported-main"


def test_a_run_that_trains_nothing_exports_nothing_and_reports_it(project):
    root = project(config="show: false\nexecute_only: null\n")
    assert dora("run", "+a=1", cwd=root).returncode == 0
    for override in ("show=true", "execute_only=generate"):
        result = dora("run", "+a=1", override, "export=true", cwd=root)
        assert result.returncode == 0 and f"nothing was trained ({override.split('=')[0]}" in result.stderr.replace(
            "True", "true")
        assert not list((root / "outputs" / "xps").glob("*/export"))


PICKLED = """
    import pickle
    from {package}.train import main
    stored = pickle.dumps(main)
    assert pickle.loads(stored) is main and b"{package}.train.main" in stored and len(stored) < 99, stored
"""


def test_slurm_jobs_import_the_wrapped_main_by_name(project):
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


@pytest.mark.parametrize(("override", "says"), [
    ("exporter.foo=1", "error[unknown-option]: Unknown option exporter.foo"),
    ("exporter.dtype=float16,bfloat16", "[invalid-override]: Hydra cannot compose exporter.dtype=float16,bfloat16: "),
    ("export=maybe", "error[invalid-option]: Invalid value 'maybe' for export")])
def test_a_wrong_option_of_a_multirun_is_an_error_without_a_traceback(project, override, says):
    result = started("proj.train", "-m", "lr=1,2", "export=true", override, cwd=project())
    assert result.returncode == 1 and says in result.stderr and "Traceback" not in result.stderr


def test_clear_does_not_remove_what_export_only_exports(project):
    root = project()
    assert dora("run", cwd=root).returncode == 0
    result = dora("run", "--clear", "export=only", cwd=root)
    assert "--clear would remove the experiment" in last_sentence(result)
    assert (only_xp(root) / "checkpoint.th").exists()
    assert dora("run", "--clear", "export=true", cwd=root).returncode == 0


def test_an_up_to_date_release_without_the_last_epochs_is_not_reported_without_a_warning(project):
    root = project()
    assert dora("run", "export=true", cwd=root).returncode == 0
    history = only_xp(root) / "history.json"
    history.write_text(json.dumps([*json.loads(history.read_text()), {"train": {"duration": 1.}}]))
    result = dora("run", "export=only", cwd=root)
    assert "already exported" in result.stderr and "warning[history-mismatch]" in result.stderr
    assert result.stderr.count("warning[") == 1


def structured(project, keys="", sign=None):
    """Write a project whose root configuration is a data class, with further keys; return its folder."""
    root = project(config_name="unused")
    train = root / "proj" / "train.py"
    train.write_text(STRUCTURED.format(keys=keys, sign=sign) + train.read_text().replace("unused", "config"))
    return root


def test_a_project_with_a_structured_root_configuration_runs_and_exports(project):
    root = structured(project)
    assert dora("run", "lr=0.75", cwd=root).returncode == 0
    # torch refuses to resume with the data class of the project
    result = dora("run", "lr=0.75", "export=true", "exporter=float16", cwd=root, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    assert result.returncode == 0, result.stderr
    (xp,) = (root / "my outputs" / "xps").iterdir()
    package = load(xp / "export" / "state_dict.bin")
    assert package["best_state"]["weight"].dtype == torch.float16 and "export" not in package["xp.cfg"]


@pytest.mark.parametrize("kind", ["Optional[Exporter]", "Optional[dict]", "Any"])
def test_exporter_may_be_null_in_a_structured_root_configuration(project, kind):
    root = structured(project, f"exporter: {kind} = None")
    assert dora("run", cwd=root).returncode == 0
    (xp,) = (root / "my outputs" / "xps").iterdir()
    result = dora("run", "export=true", "exporter.weights=last", cwd=root, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    assert result.returncode == 0, result.stderr
    assert json.loads((xp / "export" / "export.json").read_text())["weights"] == "model"


@pytest.mark.parametrize("sign", [None, "no.pem"])
def test_a_structured_root_configuration_may_have_typed_keys_of_ours(project, sign):
    keys = "export: bool = False\n    exporter: Exporter = field(default_factory=Exporter)"
    root = structured(project, keys, sign)
    assert dora("run", cwd=root).returncode == 0
    (xp,) = (root / "my outputs" / "xps").iterdir()
    result = dora("run", "export=true", "exporter.weights=last", cwd=root, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    if sign:
        assert f"Cannot read the key {root}/no.pem" in last_sentence(result)
    else:
        assert result.returncode == 0, result.stderr
        assert json.loads((xp / "export" / "export.json").read_text())["weights"] == "model"


def test_a_project_brings_its_own_choice_of_exporter(project):
    root = project()
    (root / "proj" / "conf" / "exporter").mkdir()
    (root / "proj" / "conf" / "exporter" / "mine.yaml").write_text("weights: last\n")
    for other, folder in ([], "export"), (["exporter.folder=there", "+exporter.dtype=float16"], "../../../there"):
        result = dora("run", "export=true", "exporter=mine", *other, cwd=root)
        assert result.returncode == 0, result.stderr
        assert json.loads((only_xp(root) / folder / "export.json").read_text())["weights"] == "model"


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


@pytest.mark.parametrize("on_command_line", [False, True])
def test_the_search_path_of_a_project_may_have_a_choice_of_exporter(project, on_command_line):
    root = project()
    (root / "team" / "exporter").mkdir(parents=True)
    (root / "team" / "exporter" / "ours.yaml").write_text("weights: last\n")
    config, searchpath = root / "proj" / "conf" / "config.yaml", f"['file://{root / 'team'}']"
    if not on_command_line:
        config.write_text(f"{config.read_text()}hydra:\n  searchpath: {searchpath}\n")
    more = [f"hydra.searchpath={searchpath}"] if on_command_line else []
    result = dora("run", "export=true", "exporter=ours", *more, cwd=root)
    assert result.returncode == 0, result.stderr
    assert json.loads((only_xp(root) / "export" / "export.json").read_text())["weights"] == "model"


@pytest.mark.parametrize(("is_default", "sign"), [
    (False, ""), (False, "    sign: str = 'no.pem'\n"), (True, ""),
    (True, "    sign: str = 'no.pem'\n"), (True, "    sign: Optional[str] = 'no.pem'\n")])
def test_a_choice_of_exporter_may_be_a_structured_configuration(project, is_default, sign):
    root = project()
    train = root / "proj" / "train.py"
    text = train.read_text()
    train.write_text(dedent("""
        from dataclasses import dataclass
        from enum import Enum
        from pathlib import Path
        from typing import Optional
        from hydra.core.config_store import ConfigStore
        Weights = Enum("Weights", "best last")
        @dataclass
        class Ours:
            weights: Weights = Weights.last
            folder: Optional[Path] = Path("there")
        """) + sign + dedent("""
        ConfigStore.instance().store(group="exporter", name="ours", node=Ours)
        """) + text)
    if is_default:
        config = root / "proj" / "conf" / "config.yaml"
        config.write_text(f"defaults: [_self_, exporter: ours]\n{config.read_text()}")
        assert dora("run", "export=false", cwd=root).returncode == 0
    result = dora("run", "export=true", *([] if is_default else ["exporter=ours"]), cwd=root)
    if sign:
        assert f"Cannot read the key {root}/no.pem" in last_sentence(result)
    else:
        assert result.returncode == 0, result.stderr
        assert json.loads((root / "there" / "export.json").read_text())["weights"] == "model"


def test_a_choice_that_is_edited_in_a_notebook_is_read_again(project):
    root = project()
    (root / "proj" / "conf" / "exporter").mkdir()
    code = """
        from pathlib import Path
        from proj.train import main
        for weights in "last", "ema":
            Path("proj/conf/exporter/mine.yaml").write_text(f"weights: {weights}")
            print(main.get_xp(["exporter=mine"]).cfg.exporter.weights)
    """
    assert run_python("-c", dedent(code), cwd=root).stdout == "last\nema\n"


def test_what_the_mixin_has_exported_is_not_exported_again_with_less_knowledge(project):
    rising = OF_MIXIN.replace("self.model.weight.add_(self.cfg.lr)", "self.model.weight.add_(self.cfg.lr)\n"
                              "            return {'loss': self.epoch}")
    root = project(solver=rising)  # the best state is that of the last epoch, whatever the loss
    result = dora("run", "export=true", "exporter.metric=train.loss", cwd=root)
    assert result.returncode == 0 and result.stderr.count(" exported:") == 1, result.stderr
    manifest = json.loads((only_xp(root) / "export" / "export.json").read_text())
    assert manifest["weights_epoch"] is None and "the training chose the best state by another rule" in result.stdout


def run_two_ranks(root, train, *overrides):
    """Run a training of two workers, whose main has the code `train`; return the results of rank 0 and rank 1."""
    main = root / "proj" / "train.py"
    main.write_text(main.read_text().replace("    Solver(cfg).run()\n", train))
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    argv = ["run", "export=true", "save_last=false", *overrides]
    with ThreadPoolExecutor() as pool:
        other = pool.submit(run, "dora", "-P", "proj", *argv, cwd=root, RANK="1", **env)
        return dora(*argv, cwd=root, RANK="0", **env), other.result()


def test_another_rank_that_fails_costs_no_state(project):
    root = project(solver=OF_MIXIN)
    result, other = run_two_ranks(root, """    import torch.distributed
    torch.distributed.init_process_group("gloo")
    if torch.distributed.get_rank():
        raise SystemExit(5)
    Solver(cfg).run()
""")
    assert other.returncode == 5
    assert "Another rank of this training failed" in last_sentence(result) and "Traceback" not in result.stderr
    assert (only_xp(root) / "checkpoint.th").exists()


@pytest.mark.skipif(torch.__version__.startswith("2.1."), reason="FSDP of torch 2.1 has no CPU (nox runs newer ones)")
@pytest.mark.parametrize(("weights", "strategy", "code"), [
    ("best", "SHARD_GRAD_OP", 0), ("last", "SHARD_GRAD_OP", 1), ("last", "NO_SHARD", 0)])
def test_rank_zero_never_waits_for_the_shards_of_the_other_ranks(project, weights, strategy, code):
    root = project(solver=OF_MIXIN)
    result, other = run_two_ranks(root, """    import torch
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
    torch.distributed.init_process_group("gloo")
    solver = Solver(cfg)
    solver.model = FullyShardedDataParallel(solver.model, sharding_strategy=ShardingStrategy.STRATEGY,
                                            device_id=torch.device("cpu"), use_orig_params=True)
    solver.run()
""".replace("STRATEGY,", f"{strategy},"), f"exporter.weights={weights}")
    assert (result.returncode, other.returncode) == (code, code), result.stderr
    if code == 0:  # gathered by the project, or not split
        assert verify(only_xp(root) / "export").ok
    else:
        assert "model of the solver is split over several ranks by FSDP" in last_sentence(result)
        assert not (only_xp(root) / "checkpoint.th").exists() and "Traceback" not in result.stderr


def test_a_subclass_of_the_main_keeps_its_overrides(project):
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


def test_a_wrapped_main_can_be_wrapped_again(project):
    root = project()
    (root / "wrapper").mkdir()
    (root / "wrapper" / "train.py").write_text("from audiocraft_export import with_export\nimport proj.train\n"
                                               "main = with_export(proj.train.main, module=__name__)\n")
    result = dora("run", "export=true", cwd=root, package="wrapper")
    assert result.returncode == 0 and result.stderr.count(" exported:") == 1, result.stderr


def test_an_experiment_that_was_never_trained_is_not_launched_to_be_exported(project):
    result = dora("launch", "--no_git_save", "export=only", cwd=project())
    assert "[experiment-not-found]: No XP folder " in last_sentence(result)


def test_only_a_main_over_hydra_is_wrapped():
    with pytest.raises(OptionError, match="Write @with_export above @hydra_main"):
        with_export(print)


def test_the_group_of_options_is_found_by_hydra_behind_the_folders_of_a_project():
    found = []
    path = type("Path", (), {"append": staticmethod(lambda provider, path: found.append((provider, path)))})
    ExportSearchPath().manipulate_search_path(path)
    (provider, folder), = found
    assert provider == "audiocraft-export" and (Path(folder.removeprefix("file://")) / "exporter").is_dir()


@pytest.mark.parametrize("when", ["end", "1"])
def test_the_export_of_a_training_keeps_the_scrub_of_the_previous_release(project, when):
    root = project()
    assert dora("run", "export=true", "exporter.scrub=[lr]", cwd=root).returncode == 0
    xp = only_xp(root)
    (xp / "checkpoint.th").unlink()
    (xp / "history.json").unlink()
    result = dora("run", "export=true", "exporter.weights=last", f"exporter.when={when}", cwd=root)
    assert result.returncode == 0 and "warning[scrub-kept]: " in result.stdout, result.stderr  # Hydra logs to stdout
    options = json.loads((xp / "export" / "export.json").read_text())["options"]
    assert (options["scrub"], options["weights"]) == (["lr"], "last")
    assert "error[scrub-dropped]: " in dora("run", "export=only", cwd=root).stderr


@pytest.mark.parametrize(("argv", "warns"), [
    (["exporter.weights=last"], True), (["exporter=float16"], True),
    (["exporter.dtype=float16", "export=false"], False),
    (["exporter.weights=last", "export=true"], False), ([], False)])
def test_options_without_export_are_reported(project, argv, warns):
    result = dora("run", "epochs=1", *argv, cwd=project())
    assert result.returncode == 0, result.stderr
    assert ("without export=true: nothing will be exported" in result.stderr) == warns
