"""Trainings resume with torch's safe loading, and torch still refuses all other classes."""

import enum
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
import torch
from helpers import dora, only_xp
from omegaconf import OmegaConf
from omegaconf.base import ContainerMetadata

from audiocraft_export.hooks.safe_globals import allow_config_classes

from .solvers import OF_MIXIN, interrupted

IS_SAFE = not torch.__version__.startswith(("2.1.", "2.2.", "2.3.", "2.4.", "2.5."))  # weights_only is the default
needs_safe_torch = pytest.mark.skipif(not IS_SAFE, reason="torch.load is unsafe by default before 2.6")


class Color(enum.Enum):
    RED = 1


@dataclass
class Schema:
    """A structured configuration of a project, with all kinds of plain values."""

    name: str = "x"
    count: int = 1
    rate: float = 0.5
    wanted: bool = True


class Hostile:
    """Touches a file when it is unpickled by `pickle`."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def allowed():
    allow_config_classes()
    yield
    torch.serialization.clear_safe_globals()


@pytest.fixture
def reload(tmp_path):
    """Store a value with torch, and load it with the safe loading of torch."""
    def reload(value):
        torch.save(value, tmp_path / "value.th")
        return torch.load(tmp_path / "value.th", weights_only=True)
    return reload


@pytest.mark.parametrize("args", [[], ["export=true"]])
def test_a_training_under_with_export_resumes(project, args):
    root = project()
    first = interrupted(root)
    result = dora("run", *args, cwd=root)
    assert result.returncode == 0, result.stderr
    history = json.loads((only_xp(root) / "history.json").read_text())
    assert history[0] == first and len(history) == 2


@pytest.mark.parametrize("bases", ["ExportMixin, flashy.BaseSolver", "flashy.BaseSolver, ExportMixin"])
def test_a_solver_with_the_mixin_resumes_without_with_export(project, bases):
    root = project(wrapped=False, solver=OF_MIXIN.replace("ExportMixin, flashy.BaseSolver", bases))
    interrupted(root)
    result = dora("run", cwd=root)
    assert result.returncode == 0, result.stderr
    assert "TRAINING 2" in result.stdout and "TRAINING 1" not in result.stdout


@needs_safe_torch
def test_without_this_package_torch_refuses_the_configuration(project):
    root = project(wrapped=False)
    interrupted(root)
    result = dora("run", cwd=root)
    assert result.returncode != 0 and "Unsupported global: GLOBAL omegaconf." in result.stderr


@needs_safe_torch
@pytest.mark.parametrize("section", ["xp.cfg", "history", "model"])
def test_torch_refuses_a_hostile_checkpoint_and_runs_nothing(project, tmp_path, section):
    root = project()
    value = Hostile(tmp_path / "executed")
    interrupted(root, **{section: OmegaConf.create({"x": value}, flags={"allow_objects": True})
                         if section == "xp.cfg" else value})
    result = dora("run", cwd=root)
    assert result.returncode != 0 and "Weights only load failed" in result.stderr
    assert "TRAINING" not in result.stdout and not (tmp_path / "executed").exists()
    torch.load(only_xp(root) / "checkpoint.th", weights_only=False)
    assert (tmp_path / "executed").exists()


@needs_safe_torch
def test_configurations_of_every_kind_of_value_are_loaded(allowed, reload):
    cfg = OmegaConf.create({"a": [1, 0.5, None, True, "???"], "b": {"c": "${a}", "d": []}, "e": b"f", 3: "g"})
    assert reload(cfg) == cfg and reload(cfg).b.c == cfg.a
    OmegaConf.set_readonly(cfg, True)
    assert OmegaConf.is_readonly(reload(cfg))
    assert reload({"param_groups": [{"betas": cfg.a}]})["param_groups"][0]["betas"] == cfg.a


@needs_safe_torch
@pytest.mark.parametrize("value", [Schema, {"x": Color.RED}, {"x": Path("x")}], ids=["class", "enum", "path"])
def test_classes_in_a_configuration_are_refused(allowed, reload, value):
    with pytest.raises(Exception, match=r"Unsupported global: GLOBAL (hooks\.test_safe_globals|pathlib)\."):
        reload(OmegaConf.structured(value) if value is Schema else OmegaConf.create(value))


@needs_safe_torch
def test_a_project_adds_the_class_of_its_structured_configuration(allowed, reload):
    torch.serialization.add_safe_globals([Schema])
    assert reload(OmegaConf.structured(Schema)) == OmegaConf.structured(Schema)


@needs_safe_torch
@pytest.mark.parametrize("value", [Counter, print, numpy.float32(1), Schema()], ids=repr)
def test_torch_decides_about_all_other_globals_as_before(allowed, reload, value):
    if value is Counter:
        assert reload(value("aab")) == value("aab")  # allowed by torch itself
        return
    with pytest.raises(Exception, match="Unsupported global"):
        reload(value)


@needs_safe_torch
def test_only_classes_of_omegaconf_and_of_plain_data_are_added():
    torch.serialization.clear_safe_globals()
    allow_config_classes()
    added = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    names = {item[1] if isinstance(item, tuple) else f"{item.__module__}.{item.__qualname__}" for item in added}
    assert {name for name in names if not name.startswith("omegaconf.")} == {
        "argparse.Namespace", "builtins.bool", "builtins.dict", "builtins.float", "builtins.int", "builtins.list",
        "builtins.str", "collections.defaultdict", "typing.Any"}
    assert {name.rpartition(".")[0] for name in names} == {
        "argparse", "builtins", "collections", "typing", "omegaconf.base", "omegaconf.dictconfig",
        "omegaconf.listconfig", "omegaconf.nodes"}


@needs_safe_torch
def test_a_loaded_configuration_resolves_as_the_stored_one(allowed, reload):
    OmegaConf.register_new_resolver("count", lambda name: calls.append(name) or len(calls), use_cache=True)
    calls = []
    cfg = OmegaConf.create({"old": "${count:old}", "new": "${count:new}"})
    assert cfg.old == 1
    loaded = reload(cfg)
    OmegaConf.clear_cache(cfg)
    assert [loaded.old, loaded.new, loaded.new] == [1, 2, 2] and calls == ["old", "new"]
    assert type(loaded._metadata) is ContainerMetadata
    OmegaConf.clear_resolver("count")


@needs_safe_torch
def test_a_defaultdict_is_loaded_as_a_dict(allowed, reload):
    state = defaultdict(dict, model={"weight": torch.ones(2)})  # the moving average of AudioCraft
    assert type(reload(state)) is dict and reload(state)["model"]["weight"].equal(torch.ones(2))
