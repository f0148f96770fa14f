"""Every raised error has a registered code, and every registered code is raised."""

import ast
from pathlib import Path

import pytest

import audiocraft_export
from audiocraft_export import errors
from audiocraft_export.error_codes import ERRORS, WARNINGS

PACKAGE = Path(audiocraft_export.__file__).parent
CLASSES = {"_MissingWeights", "WorkerDiedError"} | {
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.ExportError)}


def calls():
    """Yield the calls that create an error or a warning, with their files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.func.id, node.args


def literals(node):
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


@pytest.mark.parametrize(("names", "known"), [(CLASSES, ERRORS), ({"coded_warning"}, WARNINGS)])
def test_each_error_and_warning_has_a_code_and_each_code_is_used(names, known):
    found = {place: args[0] for place, name, args in calls() if name in names}
    assert [place for place, code in found.items() if not literals(code) <= {*known}] == []
    passed_on = {place for place, code in found.items() if not literals(code)}  # the code of another error
    assert len(passed_on) <= 12, passed_on
    assert {*known} == set().union(*map(literals, found.values()))


def test_a_code_has_a_short_paragraph():
    for code, text in {**ERRORS, **WARNINGS}.items():
        words = " ".join(text.split())
        assert code == code.lower() and 40 < len(words) < 500 and words.endswith(".")
    assert not {*ERRORS} & {*WARNINGS} and 60 <= len(ERRORS) <= 90
