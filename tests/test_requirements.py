"""The optional packages of formats, model cards and the Hub."""

import subprocess
import sys

import pytest
from formats.safetensors.releases import exported
from helpers import SIG, run

from audiocraft_export import ExportError, ExportOptions
from audiocraft_export.errors import ReleaseError
from audiocraft_export.requirements import require_packages, transformers_problem


@pytest.mark.parametrize("format", ["safetensors", "transformers"])
def test_without_the_packages_one_command_installs_all_that_the_export_needs(make_xp, dora_dir, monkeypatch, format):
    monkeypatch.setattr("audiocraft_export.requirements.find_spec", lambda name: None)
    with pytest.raises(ExportError, match="not installed: safetensors, huggingface_hub") as error:
        exported(make_xp, dora_dir, ExportOptions(format=format))
    transformers = " transformers" if format == "transformers" else ""
    assert error.value.hint == f"install with: pip install safetensors huggingface_hub{transformers} matplotlib"
    assert not (dora_dir / "xps" / SIG / "export").exists()


def install(folder, version, *requires):
    """Write the metadata of a version of transformers that needs other packages."""
    info = folder / f"transformers-{version}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("".join(f"{line}\n" for line in (
        "Metadata-Version: 2.1", "Name: transformers", f"Version: {version}",
        *(f"Requires-Dist: {each}" for each in requires))))
    return str(folder)


@pytest.mark.parametrize(("requires", "misfit"), [
    (["torch>=99.1; extra == 'torch'"], "torch>=99.1"), (["numpy<1,>=0.5"], "numpy<1,>=0.5"),
    (["torch>=1; extra == 'torch'", "numpy", "nothing>3"], None),
    (["numpy<1; extra == 'tests'", "torch>=99; python_version < '3'"], None)])
def test_requirements_of_transformers_are_read_from_its_metadata(tmp_path, monkeypatch, requires, misfit):
    monkeypatch.syspath_prepend(install(tmp_path, "9.9", *requires))
    problem = transformers_problem()
    if misfit is None:
        assert problem is None
    else:
        assert problem.code == "incompatible-package"
        assert f"needs {misfit}, but " in problem.message and problem.hint.startswith("uninstall it")


def test_without_transformers_there_is_no_problem(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert transformers_problem() is None


def test_an_incompatible_transformers_is_reported_before_the_training(project, tmp_path):
    folder = install(tmp_path, "9.9", "torch>=99; extra == 'torch'")
    result = run("dora", "-P", "proj", "run", "export=true", cwd=project(), PYTHONPATH=folder)
    assert result.returncode == 0 and result.stderr.count("the installed transformers needs torch>=99") == 1


def test_a_transformers_that_is_too_old_is_reported_before_it_is_imported(make_xp, dora_dir, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path, "4.39.3"))
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text("raise AssertionError")
    with pytest.raises(ExportError, match="needs transformers>=4.57, but 4.39.3 is installed. Export in") as error:
        exported(make_xp, dora_dir, ExportOptions(format="transformers"))
    assert error.value.hint.endswith("audiocraft_export and: pip install 'transformers>=4.57' matplotlib")


def test_a_folder_with_the_name_of_a_package_is_not_a_package(tmp_path, monkeypatch):
    (tmp_path / "transformers_of_mine").mkdir()  # a folder without __init__.py, as in a clone
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ReleaseError, match="format=x needs packages that are not installed: transformers_of_mine"):
        require_packages("format=x", "torch", "transformers_of_mine")


def test_the_default_format_imports_no_optional_package(make_xp, dora_dir):
    make_xp()
    code = (f"import sys; import audiocraft_export as a; a.export_xp({SIG!r}, {str(dora_dir)!r}); "
            "print([name for name in ('safetensors', 'transformers', 'huggingface_hub', 'matplotlib', "
            "'audiocraft_export.formats.transformers') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
