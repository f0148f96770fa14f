"""The packages of the extra hf."""

import subprocess
import sys

import pytest
from helpers import SIG

from audiocraft_export import ExportError, ExportOptions
from audiocraft_export.errors import ReleaseError
from audiocraft_export.formats.requirements import require_packages
from formats.safetensors.releases import exported


@pytest.mark.parametrize("format", ["safetensors", "transformers"])
def test_without_the_extra_one_sentence_says_how_to_install_it(make_xp, dora_dir, monkeypatch, format):
    monkeypatch.setattr("audiocraft_export.formats.requirements.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"safetensors and .*pip install 'audiocraft-export\[hf\]'"):
        exported(make_xp, dora_dir, ExportOptions(format=format))
    assert not (dora_dir / "xps" / SIG / "export").exists()


def test_a_transformers_that_is_too_old_is_said_before_it_is_imported(make_xp, dora_dir, monkeypatch):
    versions = {"transformers": "4.39.3", "torch": "2.13.0+cpu"}
    monkeypatch.setattr("audiocraft_export.formats.requirements.version", versions.get)
    with pytest.raises(ExportError, match=r"needs transformers 4.57, and 4.39.3 is installed here: export in an env"):
        exported(make_xp, dora_dir, ExportOptions(format="transformers"))


def test_a_folder_with_the_name_of_a_package_is_none(tmp_path, monkeypatch):
    (tmp_path / "transformers_of_mine").mkdir()  # as a clone of it has, without __init__.py
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ReleaseError, match="format=x needs transformers_of_mine, not installed"):
        require_packages("format=x", "torch", "transformers_of_mine")


def test_the_default_format_imports_nothing_of_the_extra(make_xp, dora_dir):
    make_xp()
    code = (f"import sys; import audiocraft_export as a; a.export_xp({SIG!r}, {str(dora_dir)!r}); "
            "print([name for name in ('safetensors', 'transformers', 'huggingface_hub', 'matplotlib', "
            "'audiocraft_export.formats.transformers') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
