"""Loading a release by AudioCraft: what is said where that is impossible; the loading itself is in tests/audiocraft."""

import pytest

from audiocraft_export import ExportError
from audiocraft_export.formats.audiocraft.rebuild import import_audiocraft, loader_for
from audiocraft_export.release.families.registry import family_named


def test_a_module_that_cannot_be_imported_is_said_with_what_works():
    with pytest.raises(ExportError, match="use verify=bytes"):
        import_audiocraft("no_such_module")


def test_a_model_that_audiocraft_has_no_loader_for_is_refused():
    with pytest.raises(ExportError, match="this is none of them"):
        loader_for(family_named("mine"))
