"""Is a release rebuilt by the library that it is for?"""

import pytest
from helpers import SIG, with_cfg

from audiocraft_export import ExportError, export_xp
from audiocraft_export.errors import ReleaseError
from audiocraft_export.formats import registry
from audiocraft_export.verification.release import check_rebuild


@pytest.fixture
def release(make_xp, dora_dir):
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/me/mine")})
    return export_xp(SIG, dora_dir).folder


@pytest.fixture
def library(monkeypatch):
    """Stands in for AudioCraft: has what is asked of it, and refuses if it shall."""
    calls = []

    def make(error=None):
        def verify_loads(name, folder, family, names):
            calls.append((name, folder, names))
            if error:
                raise ReleaseError(error)
        monkeypatch.setattr(registry, "require_loader", lambda name, family: None)
        monkeypatch.setattr(registry, "verify_loads", verify_loads)
        return calls
    return make


def test_a_release_that_is_rebuilt_has_no_problem(release, library):
    calls = library()
    assert check_rebuild(release) == []
    assert calls == [("audiocraft", release, ["state_dict.bin", "compression_state_dict.bin"])]


def test_what_the_library_says_is_the_problem_of_the_first_file(release, library):
    library(error="size mismatch\nfor emb.0.weight")
    problem, = check_rebuild(release)
    assert str(problem) == "state_dict.bin: is not rebuilt (size mismatch\\nfor emb.0.weight)."


def test_a_file_or_a_folder_without_a_manifest_is_an_error(release, library):
    library()
    with pytest.raises(ExportError, match="is a file: name its folder"):
        check_rebuild(release / "state_dict.bin")
    (release / "export.json").unlink()
    with pytest.raises(ExportError):
        check_rebuild(release)
