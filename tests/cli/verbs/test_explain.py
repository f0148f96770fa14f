"""`audiocraft-export explain`: explain codes."""

import json

import pytest

from audiocraft_export.cli.verbs.explain import explanation
from audiocraft_export.error_codes import ERRORS, WARNINGS

from ..commands import command


def test_without_a_code_all_codes_are_listed_in_lines_that_fit_a_terminal(tmp_path):
    lines = command("explain", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*ERRORS, *WARNINGS] and max(map(len, lines)) <= 80


@pytest.mark.parametrize("code", ["ambiguous-signature", "nonfinite-values"])
def test_a_code_is_explained_by_its_paragraph(tmp_path, monkeypatch, code):
    monkeypatch.setenv("COLUMNS", "60")
    head, _, *text = command("explain", code, cwd=tmp_path).stdout.splitlines()
    assert head == code and max(map(len, text)) <= 60
    assert " ".join(text).strip() == explanation(code)
    found = json.loads(command("explain", code, "--json", cwd=tmp_path).stdout)
    assert found == {"schema": 1, "code": code, "kind": "error" if code in ERRORS else "warning",
                     "text": explanation(code)}


def test_a_code_is_explained_once(tmp_path):
    said = command("explain", "disk-full", "error[disk-full]:", "disk-full", "--json", cwd=tmp_path).stdout
    assert len(said.splitlines()) == 1


def test_an_unknown_code_gets_the_closest_one(tmp_path):
    result = command("explain", "disk-ful", cwd=tmp_path, code=2)
    assert result.stderr == "error[invalid-arguments]: unknown code 'disk-ful'\n  hint: did you mean disk-full?\n"
