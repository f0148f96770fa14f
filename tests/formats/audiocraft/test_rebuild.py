"""Errors of loading a release with AudioCraft; tests/audiocraft has the loading itself."""

import pytest

from audiocraft_export import ExportError
from audiocraft_export.formats.audiocraft.rebuild import import_audiocraft, loader_for
from audiocraft_export.release.families.registry import family_by_name


def test_an_import_error_is_reported_with_a_hint():
    with pytest.raises(ExportError, match=r"cannot be imported.*\(verify=bytes, or omit --load\)") as caught:
        import_audiocraft("no_such_module")
    assert caught.value.code == "loader-missing"


def test_a_model_that_audiocraft_has_no_loader_for_is_refused():
    with pytest.raises(ExportError, match="AudioCraft has no loader for this model") as caught:
        loader_for(family_by_name("mine"))
    assert caught.value.code == "loader-missing"
