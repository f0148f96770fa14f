"""Build the model of a release with the library of its format."""

import pytest
from helpers import SIG, with_cfg

from audiocraft_export import ExportError, export_xp
from audiocraft_export.errors import ReleaseError
from audiocraft_export.verification import release as module
from audiocraft_export.verification.release import check_rebuild


@pytest.fixture
def release(make_xp, dora_dir):
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/me/mine")})
    return export_xp(SIG, dora_dir).folder


@pytest.fixture
def library(monkeypatch):
    """A fake AudioCraft that records its calls, and fails on demand."""
    calls = []

    def make(error=None):
        def verify_loads(name, folder, family, names):
            calls.append((name, folder, names))
            if error:
                raise ReleaseError("load-failed", error)
        monkeypatch.setattr(module, "require_loader", lambda name, family: None)
        monkeypatch.setattr(module, "verify_loads", verify_loads)
        return calls
    return make


def test_a_release_that_is_rebuilt_has_no_problem(release, library):
    calls = library()
    assert check_rebuild(release) == []
    assert calls == [("audiocraft", release, ["state_dict.bin", "compression_state_dict.bin"])]


def test_errors_of_the_library_are_problems_of_the_first_file(release, library):
    library(error="size mismatch\nfor emb.0.weight")
    problem, = check_rebuild(release)
    assert str(problem) == "state_dict.bin: cannot load the model (size mismatch\\nfor emb.0.weight)"


def test_files_that_do_not_belong_together_are_a_problem(make_xp, dora_dir, monkeypatch):
    make_xp()
    folder = export_xp(SIG, dora_dir, format="safetensors", card=False).folder
    (folder / "config.yaml").unlink()
    monkeypatch.setattr(module, "require_loader", lambda name, family: None)  # the loader is not reached
    problem, = check_rebuild(folder)
    assert str(problem).startswith("model.safetensors: cannot load the model (") and "config.yaml" in str(problem)


def test_a_file_or_a_folder_without_a_manifest_is_an_error(release, library):
    library()
    with pytest.raises(ExportError, match="is a file. Give its folder") as error:
        check_rebuild(release / "state_dict.bin")
    assert error.value.code == "wrong-target"
    (release / "export.json").unlink()
    with pytest.raises(ExportError):
        check_rebuild(release)
