"""Run the examples of --help after the demo."""

import re
import subprocess
import sys

import pytest
from helpers import dora

from audiocraft_export.cli.main import EXAMPLES, _build_parser
from audiocraft_export.cli.verbs import compare, convert, explain, inspect, run, verify
from audiocraft_export.cli.verbs import list as list_

TEXTS = {"audiocraft-export": EXAMPLES, **{verb.__name__.rpartition(".")[2]: verb.EXAMPLES
                                             for verb in (compare, convert, explain, inspect, list_, run, verify)}}
PLACEHOLDER = re.compile(r"\b(SIG|NAME|FOLDER|ORG)\b")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    result = dora("run", "export=true", cwd=folder, package="audiocraft_export.demo")
    assert result.returncode == 0, result.stderr
    return folder


def commands(text):
    """Return the commands of examples, without the remarks after two or more spaces."""
    lines = [line.strip() for line in text.replace("\\\n      ", "").splitlines()
             if line.startswith("  audiocraft-export ")]
    return [re.split(r" {2,}", line)[0] for line in lines]


@pytest.mark.parametrize("verb", TEXTS)
def test_every_example_of_the_help_works_after_the_demo(trained, verb):
    found = [command for command in commands(TEXTS[verb]) if not PLACEHOLDER.search(command)]
    assert found
    for command in found:
        line = command.replace("audiocraft-export", f"{sys.executable} -m audiocraft_export", 1)
        result = subprocess.run(line, shell=True, cwd=trained, capture_output=True, text=True)
        assert result.returncode == 0, (command, result.stderr)


def test_examples_with_placeholders_are_valid_command_lines():
    lines = [line for text in TEXTS.values() for line in commands(text) if PLACEHOLDER.search(line)]
    assert lines
    for line in lines:
        _build_parser().parse_args(line.split()[1:])
