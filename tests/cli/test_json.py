"""Lines of `--json`: all verbs follow one schema, in success and in failure, and nothing else is on stdout."""

import json
import os

import pytest
from schema import SCHEMA

from audiocraft_export import export_xp
from audiocraft_export.cli.main import ALIASES, VERBS

from .commands import command

ARGUMENTS = {"convert": ["--to", "audiocraft"], "run": ["--jobs", "2"]}
PATHS = ("xp", "checkpoint", "folder", "file")


@pytest.fixture
def two(train, dora_dir):
    """Two experiments: one with a release, and one without."""
    train("11111111", ["lr=1"], [2., 1.])
    train("22222222", ["lr=2"], [3.])
    export_xp("11111111", dora_dir)


def lines(*argv, cwd, code=0):
    found = [*map(json.loads, command(*argv, "--json", cwd=cwd, code=code).stdout.splitlines())]
    assert found and all(line["schema"] == 1 for line in found)
    return found


def test_the_schema_describes_all_verbs():
    assert {*SCHEMA["$defs"]} == {*VERBS}


@pytest.mark.parametrize("verb", ["list", "run", "inspect", "compare", "verify", "convert", *sum(ALIASES.values(), [])])
def test_targets_have_lines_with_absolute_paths(two, tmp_path, verb):
    needs_two = ["22222222"] if verb == "compare" else []
    for line in lines(verb, "11111111", *needs_two, *ARGUMENTS.get(verb, ()), cwd=tmp_path):
        paths = [line[key] for key in PATHS if line.get(key)]
        assert all(os.path.isabs(path) and os.path.exists(os.path.dirname(path)) for path in paths)
        assert paths or "differences" in line


@pytest.mark.parametrize("verb", ["run", "inspect", "compare", "verify", "convert"])
def test_a_target_that_fails_has_a_line_with_its_error(two, tmp_path, verb):
    found = lines(verb, "11111111", "33333333", *ARGUMENTS.get(verb, ()), cwd=tmp_path, code=1)
    error, = (line for line in found if "error" in line)
    assert error["target"] == "33333333" and error["error"]["code"] == "experiment-not-found"


@pytest.mark.parametrize("argv", [["run"], ["list", "--sort", "ec"], ["run", "11111111", "--dtype", "fp16"],
                                  ["explain", "nothing"], ["verfy"], ["compare", "11111111"]])
def test_wrong_usage_is_a_line_too(two, tmp_path, argv):
    line, = lines(*argv, cwd=tmp_path, code=2)
    assert {*line} == {"schema", "error"} and line["error"]["message"]


def test_a_search_prints_what_it_skips_and_what_it_would_export(two, tmp_path):
    found = {line["target"]: line["result"] for line in lines("run", "--all", "--dry-run", cwd=tmp_path)}
    assert found == {"11111111": "already_exported", "22222222": "would_be_exported"}


def test_all_codes_are_explained(tmp_path):
    assert len(lines("explain", cwd=tmp_path)) > 80
