"""`export` and `exporter` in a configuration and on a command line."""

import json

import pytest
from helpers import dora, last_sentence, only_xp
from hydra.core.override_parser.overrides_parser import OverridesParser

from audiocraft_export import ExportOptions
from audiocraft_export.hooks.overrides import quote, split_overrides, with_absolute_paths


@pytest.mark.parametrize(("override", "says"), [
    ("export=maybe", "[invalid-option]: Invalid value 'maybe' for export: expected false, true or only"),
    ("export=1", "Invalid value 1 for export: expected false, true or only"),
    ("export=${no}", "[unresolved-option]: Cannot resolve the interpolation in export"),
    ("exporter.dtype=int3", "Invalid value 'int3' for dtype: expected float32, float16 or bfloat16"),
    ("exporter.bogus=1", "[unknown-option]: Unknown option exporter.bogus hint: choose one of folder, weights, check"),
    ("exporter=nope", "[invalid-override]: Hydra cannot compose exporter=nope: Could not find 'exporter/nope' hint: "
     "use one of default, float16"),
    ("exporter.folder=~/release", "hint: quote the value twice if it has special characters: 'KEY=\"~/release\"'"),
    ("exporter.folder=[", "Hydra cannot compose exporter.folder=[: no viable alternative at input '['"),
    ("exporter.folder=${no}/a", "Cannot resolve the interpolation in exporter.folder (Interpolation"),
    ("exporter.folder=${oc.env:NOPE}", "[unresolved-option]: Cannot resolve the interpolation in exporter.folder "
     "(InterpolationResolutionError) hint: set the environment variable"),
    ("exporter.folder=???", "[unresolved-option]: exporter.folder is mandatory (???) and has no value hint: add "
     "exporter.folder=VALUE to the command line"),
    ("exporter.version=1.3", "hint: quote the number")])
def test_a_wrong_option_ends_the_run_before_it_trains(project, override, says):
    root = project()
    result = dora("run", "export=true", override, cwd=root)
    assert says in last_sentence(result) and "TRAINING" not in result.stdout
    assert not (root / "outputs" / "xps").exists()


@pytest.mark.parametrize("key", ["", "k"])
def test_an_error_names_the_option_sign_without_its_value(project, key):
    said = last_sentence(dora("run", "exporter=nope", f"exporter.sign={key}", cwd=project()))
    assert "Hydra cannot compose exporter=nope exporter.sign=...: Could not find " in said


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


def test_options_may_refer_to_the_project_s_configuration(project):
    root = project(config="exporter: {folder: '${dora.dir}/releases/${label}'}")
    assert dora("info", cwd=root).returncode == 0
    result = dora("run", "label=first", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert (root / "outputs" / "releases" / "first" / "state_dict.bin").exists()
    result = dora("run", "label=first", "export=only", "exporter.folder=${dora.dir}/x", cwd=root)
    assert result.returncode == 0 and (root / "outputs" / "x" / "state_dict.bin").exists(), result.stderr


def test_a_relative_folder_is_one_of_where_dora_was_started(project):
    root = project()
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace("Solver(cfg).run()", "Solver(cfg).run(); __import__('os').chdir('/')"))
    assert dora("run", "export=true", "exporter.folder=it's \\\\ here é", cwd=root).returncode != 0  # invalid for Hydra
    result = dora("run", "export=true", "exporter.folder='it\\'s here é'", cwd=root)
    assert result.returncode == 0, result.stderr
    assert (root / "it's here é" / "export.json").exists()


@pytest.mark.parametrize("value", [
    "", "a b", "it's", "\\", "a\\", "\\'", "\\\\' \\ '\\", "line\\\nbreak", "${x}", "null", "[1, 2]", None, True, 3,
    0.5, ["public", "optim.*"], ["größe", "it's"], {"a": {"b": "it's"}, "c": None}], ids=repr)
def test_a_quoted_value_comes_back_through_the_grammar_of_hydra(value):
    assert OverridesParser.create().parse_override(f"key={quote(value)}").value() == value


def test_a_command_line_is_split_into_our_overrides_and_all_others():
    ours = ["export=true", "+exporter=float16", "++exporter.dtype=null"]
    others = ["lr=1", "--export=1", "exporters.a=1", "my.export=1", "export", "-f"]
    assert split_overrides([*ours, *others]) == (ours, others)
    assert split_overrides([]) == ([], [])


def test_paths_are_absolute_and_may_abbreviate_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    found = with_absolute_paths(ExportOptions(folder="~/release", config="a/~", sign="~/key.pem"))
    assert (found.folder, found.config, found.sign) == ("/home/me/release", f"{tmp_path}/a/~", "/home/me/key.pem")
