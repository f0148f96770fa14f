"""Python tags in a configuration become plain data in a release, and no object is constructed."""

from pathlib import Path

import pytest
import yaml
from helpers import SIG, load
from omegaconf import OmegaConf

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config
from audiocraft_export.experiment.yaml_tags import without_tags


def test_a_text_without_tags_is_unchanged():
    for text in ("a: 1\n", "a: 'hello!'\nb: 1e-4\nd: 2024-01-01\n", "a: !!str 1\n"):
        assert without_tags(text) == text


@pytest.mark.parametrize(("text", "values"), [
    ("a: !!python/object/apply:pathlib.PosixPath\n- /\n- home\n- joe\nlr: 1e-4\n", {"a": "/home/joe", "lr": 1e-4}),
    ("a: !!python/object/apply:pathlib._local.PosixPath [/, x]", {"a": "/x"}),
    ("a: !!python/object/apply:pathlib.PureWindowsPath ['C:\\', x]", {"a": "C:\\x"}),
    ("a: !!python/tuple [1, 2e-3, '${b}']\nb: yes", {"a": [1, 2e-3, "${b}"], "b": True}),
    ("a: !!python/name:torch.float16 ''", {"a": "torch.float16"}),
    ("a: !!python/object/apply:torch.device [cuda, 0]", {"a": "cuda:0"}),
    ("a: !!python/object/apply:proj.Color [2]", {"a": 2}), ("a: !custom text", {"a": "text"}),
    ("a: !!set {y, x}", {"a": ["x", "y"]}), ("a: !!python/unicode '1'", {"a": "1"}),
    ("a: !!set {10, b, 9, 1.5}", {"a": [1.5, 9, 10, "b"]}), ("!!python/object:argparse.Namespace {a: 1}", {"a": 1}),
    ("a: !!python/object/apply:proj.Color [!!python/tuple [1, 2]]", {"a": [1, 2]}),
    ("a: !!python/object/apply:proj.Color [!!python/name:torch.float16 '']", {"a": "torch.float16"}),
    ("a: !!python/object/apply:builtins.frozenset [[10, 9]]", {"a": [9, 10]}),
    ("d: 2024-01-01\ns: '1'\nn: null\nx: !!python/long '3'", {"d": "2024-01-01", "s": "1", "n": None, "x": 3})])
def test_a_tag_is_read_as_plain_data(text, values):
    assert Config.parse(text).values == values


@pytest.mark.parametrize(("text", "key"), [
    ("a:\n  b: !!python/object/apply:os.system ['touch {}']", "a.b"),
    ("a:\n- 1\n- !!python/object:proj.Thing {{x: 1}}", r"a\[1\]"),
    ("a: !!python/object/new:os.system ['touch {}']", "a"), ("a: !strange [1]", "a"),
    ("a: !!python/object/apply:numpy.core.multiarray.scalar\n- !!python/object/apply:numpy.dtype [f8]\n- !!binary |\n"
     "  AAAAAAAA8D8=", "a")])
def test_an_unsupported_tag_is_an_error_that_names_its_key(tmp_path, text, key):
    with pytest.raises(CheckpointError, match=f"`{key}` of the configuration has the unsupported YAML tag !") as error:
        Config.parse(text.format(tmp_path / "made"))
    assert error.value.code == "unsupported-config-value"
    assert not (tmp_path / "made").exists()


def test_an_object_as_the_whole_configuration_is_refused_without_a_key():
    with pytest.raises(CheckpointError, match="^The configuration has the unsupported YAML tag !!python.*:proj.Thing"):
        Config.parse("!!python/object:proj.Thing {a: 1}")


def test_a_path_in_the_configuration_of_hydra_is_released_as_its_string(make_xp, dora_dir):
    folder = make_xp(**{"xp.cfg": ...})
    (folder / ".hydra").mkdir()
    cfg = OmegaConf.create({"solver": "mine", "data": Path("/data/x"), "lr": 1e-4})
    (folder / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    assert "!!python" in (folder / ".hydra" / "config.yaml").read_text()
    for options in (ExportOptions(), ExportOptions(scrub="public")):
        text = load(export_xp(SIG, dora_dir, options).files[0])["xp.cfg"]
        assert "!!python" not in text and yaml.safe_load(text)["solver"] == "mine"
    assert Config.parse(OmegaConf.to_yaml(cfg)).values == {"solver": "mine", "data": "/data/x", "lr": 1e-4}
