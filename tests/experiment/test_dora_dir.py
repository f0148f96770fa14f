"""The Dora folder that a folder is in, and that of a process that names none."""

from pathlib import Path

import pytest

from audiocraft_export import ExportError
from audiocraft_export.experiment.dora_dir import find_dora_dir, resolve_dora_dir


@pytest.fixture(autouse=True)
def no_variables(monkeypatch, tmp_path):
    for name in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE", "DORA_MAIN_MODULE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("place", ["", "xps", "xps/0123abcd", "xps/0123abcd/a/b", "grids/sweep", "grids/sweep/0123abcd",
                                   "xps/0123abcd/checkpoint.th"])
def test_a_dora_folder_is_found_from_inside(make_xp, dora_dir, place):
    (make_xp() / "a" / "b").mkdir(parents=True)
    (dora_dir / "grids" / "sweep").mkdir(parents=True)
    (dora_dir / "grids" / "sweep" / "0123abcd").symlink_to("../../xps/0123abcd")
    assert find_dora_dir(dora_dir / place) == dora_dir


@pytest.mark.parametrize("name", [".argv.json", ".hydra", "history.json", "checkpoint.th"])
def test_a_folder_xps_is_that_of_a_dora_folder_if_it_has_an_experiment(tmp_path, name):
    folder = tmp_path / "xps" / "any"
    folder.mkdir(parents=True)
    (tmp_path / "xps" / "file").touch()
    assert find_dora_dir(folder) is None
    (folder / name).touch()
    assert find_dora_dir(folder) == tmp_path


def test_the_nearest_dora_folder_is_found(make_xp, dora_dir):
    inner = make_xp() / "outputs"
    (inner / "xps" / "89abcdef").mkdir(parents=True)
    assert find_dora_dir(inner) == dora_dir
    (inner / "xps" / "89abcdef" / "history.json").touch()
    assert find_dora_dir(inner) == inner


def test_a_file_named_xps_is_passed_over(tmp_path):
    (tmp_path / "xps").touch()
    assert find_dora_dir(tmp_path / "xps") is None


def test_the_dora_folder_is_found_in_the_order_of_the_command(monkeypatch, tmp_path, make_xp, dora_dir):
    assert resolve_dora_dir() == Path("outputs")
    (tmp_path / "train.py").write_text("class main:\n    class dora:\n        dir = 'of_package'\n")
    (tmp_path / "proj").mkdir()
    (tmp_path / "train.py").rename(tmp_path / "proj" / "train.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DORA_PACKAGE", "proj")
    assert resolve_dora_dir() == Path("of_package")
    monkeypatch.setenv("AUDIOCRAFT_DORA_DIR", "of_variable")
    assert resolve_dora_dir() == Path("of_variable")
    monkeypatch.chdir(make_xp())
    assert resolve_dora_dir() == dora_dir


def test_a_package_that_cannot_be_imported_is_an_error(monkeypatch):
    monkeypatch.setenv("DORA_PACKAGE", "nowhere_at_all")
    with pytest.raises(ExportError, match="Cannot import nowhere_at_all.train") as refusal:
        resolve_dora_dir()
    assert refusal.value.code == "package-import-failed"
