"""The version tag of the installed AudioCraft."""

import sys
from pathlib import Path

import pytest
from helpers import SIG, load, with_cfg

from audiocraft_export import export_xp
from audiocraft_export.errors import CheckpointError
from audiocraft_export.release.installed_audiocraft import audiocraft_version, reference_folder


def test_an_unknown_version_tag_of_an_audiocraft_model_is_reported(make_xp, dora_dir, monkeypatch):
    monkeypatch.setattr("audiocraft_export.release.provenance.audiocraft_version", lambda: None)
    make_xp(**{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    report = export_xp(SIG, dora_dir)
    assert load(report.files[0])["version"] == "unknown" \
        and report.manifest.warnings[0].startswith("unknown-version: ")


def test_the_version_tag_is_that_of_the_installed_audiocraft(make_xp, dora_dir, tmp_path, monkeypatch):
    (tmp_path / "audiocraft").mkdir()
    (tmp_path / "audiocraft" / "__init__.py").write_text("__version__ = '1.4.0a2'\nraise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "audiocraft", raising=False)  # the folder tests/audiocraft, as a namespace package
    make_xp(**{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    assert load(export_xp(SIG, dora_dir).files[0])["version"] == audiocraft_version() == "1.4.0a2"


def test_a_reference_folder_is_that_of_the_environment_or_the_way_to_say_it_is_named(monkeypatch):
    monkeypatch.setenv("AUDIOCRAFT_REFERENCE_DIR", "/references")
    assert reference_folder() == Path("/references")
    monkeypatch.delenv("AUDIOCRAFT_REFERENCE_DIR")
    monkeypatch.setitem(sys.modules, "audiocraft.environment", None)
    with pytest.raises(CheckpointError, match="AUDIOCRAFT_REFERENCE_DIR is not set") as error:
        reference_folder()
    assert error.value.hint == "set AUDIOCRAFT_REFERENCE_DIR"
