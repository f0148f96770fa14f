"""The registry of formats."""

from pathlib import Path

import pytest

from audiocraft_export import ExportError
from audiocraft_export.formats.registry import FORMATS, require_loader, verify_loads
from audiocraft_export.options import CHOICES
from audiocraft_export.release.families.registry import family_by_name


def test_every_value_of_the_option_is_a_format():
    assert {*FORMATS} == {*CHOICES["format"]}


def test_a_format_of_a_later_version_is_refused():
    for check in (lambda: require_loader("later", family_by_name("mine")),
                  lambda: verify_loads("later", Path("x"), family_by_name("mine"), [])):
        with pytest.raises(ExportError, match="Unknown release format 'later'") as caught:
            check()
        assert caught.value.code == "unknown-format"
