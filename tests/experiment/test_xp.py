"""Experiments on disk: found by signature or prefix, their checkpoints, grids."""

import json
import os

import pytest
from helpers import SIG

from audiocraft_export import export_xp
from audiocraft_export.errors import ExperimentError
from audiocraft_export.experiment.limits import MAX_FILE_BYTES
from audiocraft_export.experiment.xp import Experiment, find_xp, grid_xps, list_grids, list_xps, read_small_text


@pytest.fixture
def xps(dora_dir):
    for sig in ("0123abcd", "0123ffff", "beef0000", ".hidden"):
        (dora_dir / "xps" / sig).mkdir(parents=True)
    (dora_dir / "xps" / "file").touch()
    return dora_dir / "xps"


@pytest.mark.parametrize("sig", ["beef0000", "b", "0123a"])
def test_an_experiment_is_found_by_what_only_it_begins_with(xps, dora_dir, sig):
    found = find_xp(sig, dora_dir)
    assert found == Experiment(xps / found.sig, found.sig) and found.sig.startswith(sig)
    assert [xp.sig for xp in list_xps(dora_dir)] == ["0123abcd", "0123ffff", "beef0000"]


@pytest.mark.parametrize(("sig", "says"), [
    ("0123", "0123 is the start of 2 experiments in {xps}: 0123abcd, 0123ffff; give more of the signature."),
    ("beef1", "No XP 'beef1' in {xps}; did you mean beef0000?"), ("bee0", "did you mean beef0000?"),
    ("zz", "it holds 0123abcd, 0123ffff, beef0000."), ("", "it holds 0123abcd"), ("..", "it holds"), (".", "it holds"),
    ("../xps/beef0000", "No XP"), ("beef0000/", "No XP"), ("file", "it holds"), ("a\0b", "it holds")])
def test_a_signature_that_is_not_one_is_an_error_that_names_similar_ones(xps, dora_dir, sig, says):
    with pytest.raises(ExperimentError) as error:
        find_xp(sig, dora_dir)
    assert says.format(xps=xps) in str(error.value)


def test_a_folder_that_is_not_of_dora_is_an_error_that_names_the_right_one(xps, dora_dir, tmp_path):
    for folder, says in ((tmp_path, "name the right one with --dora-dir"), (xps, f"name {dora_dir}, in which it lies")):
        with pytest.raises(ExperimentError, match=says):
            list_xps(folder)


@pytest.mark.parametrize(("name", "says"), [
    (9, "choose one of these with the option checkpoint: 1, best, or leave that option out for checkpoint.th."),
    (None, "checkpoint.th")])
def test_a_checkpoint_that_is_not_there_is_an_error_that_names_those_that_are(make_xp, name, says):
    for file in ("checkpoint.th", "checkpoint_1.th", "checkpoint_best.th"):
        xp = Experiment.from_folder(make_xp(name=file))
    assert xp.checkpoint().name == "checkpoint.th" and xp.checkpoint(1).name == "checkpoint_1.th"
    if name is None:
        xp.checkpoint().rename(xp.folder / "else")
    with pytest.raises(ExperimentError) as error:
        xp.checkpoint(name)
    assert says in str(error.value)


@pytest.mark.parametrize(("place", "says"), [
    ("xps/file", "this is a Dora folder"), ("export.json", "this is a release"), ("other", "train it first")])
def test_a_folder_without_checkpoints_is_told_by_what_is_in_it(tmp_path, place, says):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    with pytest.raises(ExperimentError, match=says):
        Experiment.from_folder(tmp_path).checkpoint()


def test_a_checkpoint_that_leads_nowhere_is_not_a_missing_one(tmp_path):
    os.symlink("nowhere", tmp_path / "checkpoint.th")
    with pytest.raises(ExperimentError, match="a link to nothing"):
        Experiment.from_folder(tmp_path).checkpoint()


def test_the_dora_folder_is_found_from_a_link_too(make_xp, dora_dir, tmp_path):
    folder = make_xp()
    (tmp_path / "link").symlink_to(folder)
    for path, sig in ((folder, SIG), (tmp_path / "link", None)):
        xp = Experiment.from_folder(path)
        assert xp.dora_dir == dora_dir and xp.sig == sig


@pytest.mark.parametrize("text", ["", "{", "3", "[" * 100_000, None])
def test_files_of_dora_that_cannot_be_read_are_as_if_absent(tmp_path, text):
    for name in (".argv.json", "history.json"):
        if text is not None:
            (tmp_path / name).write_text(text)
    xp = Experiment.from_folder(tmp_path)
    assert xp.argv is None and xp.history == [] and not xp.is_untrained
    (tmp_path / ".argv.json").write_text(json.dumps(["lr=1"]))
    assert xp.argv == ["lr=1"] and xp.is_untrained


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "file", "wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    assert read_small_text(tmp_path / "file") == "" and read_small_text(tmp_path / "none") == ""


def test_a_grid_is_the_links_that_dora_left(xps, dora_dir):
    assert list_grids(dora_dir) == []
    with pytest.raises(ExperimentError, match="dora grid was never run there"):
        grid_xps("sweep", dora_dir)
    (dora_dir / "grids" / "sweep").mkdir(parents=True)
    with pytest.raises(ExperimentError, match="the last dora grid sweep left none: run it again"):
        grid_xps("sweep", dora_dir)
    (dora_dir / "grids" / "sweep" / "beef0000").symlink_to(xps / "beef0000")
    assert list_grids(dora_dir) == ["sweep"]
    assert grid_xps("sweep", dora_dir) == [Experiment(xps / "beef0000", "beef0000")]
    with pytest.raises(ExperimentError, match="did you mean sweep?"):
        grid_xps("swep", dora_dir)


@pytest.mark.parametrize(("place", "argv", "sig"), [
    ("outputs/xps/abc", "[]", "abc"), ("outputs/xps/0123abcd", "[]", "0123abcd"), ("copies/0123abcd", "[]", "0123abcd"),
    ("copies/mine", "[]", None), ("outputs/xps/abc", "{}", None), ("outputs/xps/a\nb", "[]", None),
    ("outputs/xps/abc", None, None)])
def test_a_folder_that_dora_has_made_is_named_by_its_signature(tmp_path, place, argv, sig):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    if argv is not None:
        (folder / ".argv.json").write_text(argv)
    (tmp_path / "link").symlink_to(folder)
    assert Experiment(folder, None).stored_sig == Experiment(tmp_path / "link", None).stored_sig == sig
    assert Experiment.from_folder(folder).sig == sig


def test_an_experiment_with_a_release_and_no_checkpoint_names_the_release(make_xp, dora_dir):
    folder = make_xp()
    export_xp(SIG, dora_dir)
    (folder / "checkpoint.th").unlink()
    with pytest.raises(ExperimentError, match=f"no checkpoint, only its release {folder / 'export'}"):
        export_xp(SIG, dora_dir)


@pytest.mark.parametrize("text", ["[1, 2]", '[{"valid": {}}, null]', '[["valid"]]'])
def test_a_history_is_a_list_of_mappings(tmp_path, text):
    (tmp_path / "history.json").write_text(text)
    xp = Experiment(tmp_path, None)
    assert xp.is_history_broken and xp.history == []
