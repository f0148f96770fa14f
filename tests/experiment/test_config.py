"""The values of a configuration, and what is too much of one."""

from argparse import Namespace

import pytest
from omegaconf import OmegaConf

from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config, to_container


def test_what_refers_to_the_environment_or_to_other_keys_is_resolved(monkeypatch):
    monkeypatch.setenv("WHICH", "musicgen")
    config = Config({"a": {"b": "${oc.env:WHICH}", "c": "${.b}"}, "solver": "${a.c}", "fsdp": {"use": "${off}"},
                     "off": False, "twice": "${a.b}/${a.c}", "list": ["${off}"], "none": "${null}", "null": None})
    assert config.get("solver") == "musicgen" and config.get("twice") == "musicgen/musicgen"
    assert config.get("fsdp.use") is False and config.get("fsdp") == {"use": "${off}"}
    assert config.get("list") == ["${off}"]
    assert config.get("none") is None and config.get("absent.key", 3) == 3 and config.get("solver.more") is None


@pytest.mark.parametrize(("text", "says"), [
    ("3", "no mapping"), ("[1]", "no mapping"), ("a: &x 1\nb: *x", "aliases"), ("a: b: c", "no YAML of OmegaConf"),
    ("a: " + "[" * 600, "larger than that of any training"), ("a: " + "${" * 4001, "larger than that of any training"),
    ("x" * (1 << 20) + ": 1", "larger than that of any training"), ("a: [" + "1," * 50_000 + "]", "larger than")],
    ids=lambda text: text[:12])
def test_a_configuration_that_is_none_or_too_much_is_refused(text, says):
    with pytest.raises(CheckpointError, match=says):
        Config.parse(text)


@pytest.mark.parametrize("value", ["!!map [1]", "1" + ":59" * 999 + ".5", "1" + ":59" * 9999, "0x" + "f" * 4000])
def test_a_value_that_yaml_cannot_read_or_write_is_refused_in_one_sentence(value):
    with pytest.raises(CheckpointError, match="is no YAML of OmegaConf|cannot be written as YAML") as error:
        Config.parse(f"a: {value}")
    assert "\n" not in str(error.value)


def test_our_own_keys_are_no_part_of_a_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text("lr: ${a}\na: 1\nexport: true\nexporter: {dtype: null}\n")
    config = Config.load(tmp_path / "config.yaml")
    assert config.text == "lr: ${a}\na: 1\n" and config.values == {"lr": "${a}", "a": 1} and config.raw("lr") == "${a}"


def test_what_a_model_is_built_from_has_all_its_values():
    model = {"dim": "${size}", "list": ["${size}"]}
    config = Config({"model": model, "size": 3, "home": "${oc.env:HOME}", "none": None})
    assert config.require("model") == {"model": {"dim": 3, "list": [3]}}
    for key in ("home", "none", "absent"):
        with pytest.raises(CheckpointError, match=f"`{key}` of the configuration .* a release needs the value itself"):
            config.require(key)


def test_the_data_of_any_kind_of_configuration():
    assert to_container(OmegaConf.create({"a": "${b}"})) == {"a": "${b}"}
    assert to_container(Namespace(a=1)) == {"a": 1} and to_container("text") == "text"


@pytest.mark.parametrize("value", ["!!int ''", "!!float ''", "!!bool maybe", "!!timestamp x"])
def test_a_value_that_does_not_fit_its_tag_is_no_yaml(value):
    with pytest.raises(CheckpointError, match="is no YAML of OmegaConf"):
        Config.parse(f"a: {value}\n")
