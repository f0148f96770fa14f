"""Resolve the values of a configuration, and refuse one that is too large."""

import errno
import os
from argparse import Namespace

import pytest
from omegaconf import OmegaConf

from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config, to_container


def test_references_to_the_environment_and_to_other_keys_are_resolved(monkeypatch):
    monkeypatch.setenv("WHICH", "musicgen")
    config = Config({"a": {"b": "${oc.env:WHICH}", "c": "${.b}"}, "solver": "${a.c}", "fsdp": {"use": "${off}"},
                     "off": False, "twice": "${a.b}/${a.c}", "list": ["${off}"], "none": "${null}", "null": None})
    assert config.get("solver") == "musicgen" and config.get("twice") == "musicgen/musicgen"
    assert config.get("fsdp.use") is False and config.get("fsdp") == {"use": "${off}"}
    assert config.get("list") == ["${off}"]
    assert config.get("none") is None and config.get("absent.key", 3) == 3 and config.get("solver.more") is None


@pytest.mark.parametrize(("text", "says"), [
    ("3", "must be a mapping"), ("[1]", "must be a mapping"), ("text", "must be a mapping"),
    ("<!DOCTYPE html>\n<html>", "must be a mapping"), ("version https://git-lfs", "must be a mapping"),
    ("a: &x 1\nb: *x", r"YAML aliases \(&, \*\)"),
    ("a: b: c", "not valid YAML for OmegaConf"), ("a: " + "[" * 600, "too large .603 characters of YAML"),
    ("a: " + "${" * 4001, "too large .* 4000 interpolations"), ("x" * (1 << 20) + ": 1", "too large .* 1048576 char"),
    ("a: [" + "1," * 50_000 + "]", "too large .* 40000 separators")], ids=lambda text: text[:12])
def test_an_invalid_or_too_large_configuration_is_refused(text, says):
    with pytest.raises(CheckpointError, match=says) as error:
        Config.parse(text)
    assert error.value.code == ("limit-exceeded" if "too large" in says else "invalid-config")


@pytest.mark.parametrize(("content", "code", "says"), [
    (None, "path-not-found", "Cannot read configuration {path}: No such file or directory"),
    (b"a: \xff", "invalid-config", "Configuration {path} is not valid UTF-8: "),
    (b"3", "invalid-config", "Invalid configuration {path}: The configuration must be a mapping")])
def test_a_configuration_file_that_cannot_be_used_is_an_error_with_its_path(tmp_path, content, code, says):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        Config.load(path)
    assert error.value.code == code and error.value.message.startswith(says.format(path=path))


def test_a_configuration_file_that_would_block_is_refused(tmp_path):
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(CheckpointError) as error:
        Config.load(tmp_path / "config.yaml")
    assert (error.value.code, error.value.message) == (
        "read-failed", f"Cannot read configuration {tmp_path / 'config.yaml'}: not a regular file")


def test_permission_denied_is_an_error_about_permissions(tmp_path, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(CheckpointError) as error:
        Config.load(tmp_path / "config.yaml")
    assert (error.value.code, error.value.hint) == ("read-failed", "check its permissions")


@pytest.mark.parametrize("value", ["!!map [1]", "1" + ":59" * 999 + ".5", "1" + ":59" * 9999, "0x" + "f" * 4000])
def test_a_value_that_yaml_cannot_read_or_write_is_refused_in_one_sentence(value):
    with pytest.raises(CheckpointError, match="not valid YAML for OmegaConf|cannot be written as YAML") as error:
        Config.parse(f"a: {value}")
    assert "\n" not in str(error.value)


def test_the_keys_of_this_package_are_removed_from_a_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text("lr: ${a}\na: 1\nexport: true\nexporter: {dtype: null}\n")
    config = Config.load(tmp_path / "config.yaml")
    assert config.text == "lr: ${a}\na: 1\n" and config.values == {"lr": "${a}", "a": 1} and config.raw("lr") == "${a}"


def test_values_that_a_model_is_built_from_are_required():
    model = {"dim": "${size}", "list": ["${size}"]}
    config = Config({"model": model, "size": 3, "home": "${oc.env:HOME}", "none": None})
    assert config.require("model") == {"model": {"dim": 3, "list": [3]}}
    for key in ("home", "none", "absent"):
        with pytest.raises(CheckpointError, match=f"`{key}` of the configuration .* the model is built from") as error:
            config.require(key)
        assert error.value.code == "unresolved-config" and error.value.hint.startswith("write the value itself into")
        assert ("refers to" if key == "home" else "is missing or null") in error.value.message


def test_the_data_of_any_kind_of_configuration():
    assert to_container(OmegaConf.create({"a": "${b}"})) == {"a": "${b}"}
    assert to_container(Namespace(a=1)) == {"a": 1} and to_container("text") == "text"


@pytest.mark.parametrize("value", ["!!int ''", "!!float ''", "!!bool maybe", "!!timestamp x"])
def test_a_value_that_does_not_match_its_tag_is_invalid_yaml(value):
    with pytest.raises(CheckpointError, match="is not valid YAML for OmegaConf: a value does not match its YAML tag"):
        Config.parse(f"a: {value}\n")
