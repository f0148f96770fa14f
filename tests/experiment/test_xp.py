"""Find experiments by signature or prefix, their checkpoints, and grids."""

import errno
import json
import os
import shutil

import pytest
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.errors import CheckpointError, ExperimentError
from audiocraft_export.experiment.config import Config
from audiocraft_export.experiment.limits import MAX_FILE_BYTES
from audiocraft_export.experiment.xp import (
    Experiment,
    checkpoint_name,
    checkpoint_option,
    find_xp,
    grid_xps,
    list_grids,
    list_xps,
    read_small_text,
    solver_in,
)


@pytest.fixture
def xps(dora_dir):
    for sig in ("0123abcd", "0123ffff", "beef0000", ".hidden"):
        (dora_dir / "xps" / sig).mkdir(parents=True)
    (dora_dir / "xps" / "file").touch()
    return dora_dir / "xps"


@pytest.mark.parametrize("sig", ["beef0000", "b", "0123a"])
def test_an_experiment_is_found_by_an_unambiguous_prefix(xps, dora_dir, sig):
    found = find_xp(sig, dora_dir)
    assert found == Experiment(xps / found.sig, found.sig) and found.sig.startswith(sig)
    assert [xp.sig for xp in list_xps(dora_dir)] == ["0123abcd", "0123ffff", "beef0000"]


@pytest.mark.parametrize(("sig", "says"), [
    ("0123", "'0123' matches 2 experiments in {xps}: 0123abcd, 0123ffff. Give more characters of the signature."),
    ("beef1", "No XP 'beef1' in {xps}. Did you mean beef0000?"), ("bee0", "Did you mean beef0000?"),
    ("zz", "Choose one of 0123abcd, 0123ffff, beef0000."), ("", "Choose one of 0123abcd"), ("..", "Choose one of"),
    (".", "Choose one of"), ("../xps/beef0000", "No XP"), ("beef0000/", "No XP"), ("file", "Choose one of"),
    ("a\0b", "Choose one of")])
def test_a_signature_that_is_not_one_is_an_error_that_names_similar_ones(xps, dora_dir, sig, says):
    with pytest.raises(ExperimentError) as error:
        find_xp(sig, dora_dir)
    assert says.format(xps=xps) in str(error.value)
    assert error.value.code == ("ambiguous-signature" if sig == "0123" else "experiment-not-found")


def test_a_dora_folder_without_experiments_gives_no_suggestions(dora_dir):
    (dora_dir / "xps").mkdir(parents=True)
    with pytest.raises(ExperimentError, match="the folder has no experiments") as error:
        find_xp("0123", dora_dir)
    assert (error.value.code, error.value.hint) == ("experiment-not-found", "")


def test_a_folder_that_is_not_of_dora_is_an_error_that_names_the_right_one(xps, dora_dir, tmp_path):
    hint = "name the Dora folder with --dora-dir, or the training package with -P"
    for folder, says in ((tmp_path, hint), (xps, f"did you mean --dora-dir {dora_dir}?"), (tmp_path / "no/xps", hint)):
        with pytest.raises(ExperimentError, match=f"{folder} is not a Dora folder: cannot read ") as error:
            list_xps(folder)
        assert (error.value.code, error.value.hint) == ("dora-folder-not-found", says)


def test_permission_denied_is_an_error_about_permissions(xps, dora_dir, monkeypatch):
    def denied(*args):
        raise PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(os, "scandir", denied)
    monkeypatch.setattr(os, "listdir", denied)
    for read in (lambda: list_xps(dora_dir), lambda: Experiment(xps / "beef0000", "beef0000").checkpoints):
        with pytest.raises(ExperimentError, match="Cannot read .*: Permission denied") as error:
            read()
        assert (error.value.code, error.value.hint) == ("read-failed", "check its permissions")


@pytest.mark.parametrize(("name", "says"), [
    (9, "Use checkpoint=NAME (--checkpoint NAME) with one of 1, best, or omit the option checkpoint to use "
        "checkpoint.th."),
    (None, "Use checkpoint=NAME (--checkpoint NAME) with one of 1, best.")])
def test_a_missing_checkpoint_is_an_error_that_lists_existing_ones(make_xp, name, says):
    for file in ("checkpoint.th", "checkpoint_1.th", "checkpoint_best.th"):
        xp = Experiment.from_folder(make_xp(name=file))
    assert xp.checkpoint().name == "checkpoint.th" and xp.checkpoint(1).name == "checkpoint_1.th"
    assert all(xp.checkpoint(each.name) == each for each in xp.checkpoints)
    if name is None:
        xp.checkpoint().rename(xp.folder / "else")
    with pytest.raises(ExperimentError) as error:
        xp.checkpoint(name)
    assert error.value.code == "checkpoint-not-found" and str(error.value).endswith(says)


@pytest.mark.parametrize(("place", "folder", "code", "says", "hint"), [
    ("xps/0123abcd/x", ".", "wrong-target", "is a Dora folder", "name one of its XPs with --dora-dir {}: 0123abcd"),
    ("xps/0123abcd/x", "xps", "wrong-target", "is the xps folder of a Dora folder",
     "name one of its XPs with --dora-dir {}: 0123abcd"),
    ("xps/x", "xps", "wrong-target", "is the xps folder of a Dora folder", ""),
    ("export.json", ".", "wrong-target", "is a release", "name the XP that it was exported from"),
    ("other", ".", "checkpoint-not-found", "the folder has no checkpoint", ""),
    (".argv.json", ".", "checkpoint-not-found", "the folder has no checkpoint", "train the experiment first")])
def test_a_folder_without_checkpoints_is_described_by_its_content(tmp_path, place, folder, code, says, hint):
    (tmp_path / place).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / place).write_text("[]")
    with pytest.raises(ExperimentError, match=says) as error:
        Experiment.from_folder(tmp_path / folder).checkpoint()
    assert (error.value.code, error.value.hint) == (code, hint.format(tmp_path))


def test_a_dangling_symlink_is_not_a_missing_checkpoint(tmp_path):
    os.symlink("nowhere", tmp_path / "checkpoint.th")
    with pytest.raises(ExperimentError, match="is a dangling symlink") as error:
        Experiment.from_folder(tmp_path).checkpoint()
    assert error.value.code == "read-failed"


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(("whole", "damaged", "name", "offered", "hint"), [
    ([2], [None], None, 2, "use checkpoint=2 (--checkpoint 2)"),
    ([9, 2], [None, 10], None, 9, "use checkpoint=9 (--checkpoint 9)"),
    ([None, 1], [2], 2, None, "omit the option checkpoint to export checkpoint.th")])
def test_a_truncated_checkpoint_offers_another_one(make_xp, dora_dir, whole, damaged, name, offered, hint):
    for each in (*whole, *damaged):
        make_xp(name="checkpoint.th" if each is None else f"checkpoint_{each}.th")
    xp = find_xp(SIG, dora_dir)
    for each in damaged:
        cut(xp.checkpoint(each))
    with pytest.raises(CheckpointError) as error:
        export_xp(SIG, dora_dir, ExportOptions(checkpoint=name))
    assert error.value.hint.endswith(hint)
    assert export_xp(SIG, dora_dir, ExportOptions(checkpoint=offered)).written


@pytest.mark.parametrize("name", [None, "3", "best_of_all"])
def test_the_option_of_a_checkpoint_is_the_one_that_names_it(name):
    assert checkpoint_option(checkpoint_name(name)) == name
    assert checkpoint_option("other.th") is None


def test_the_latest_checkpoint_is_first_and_a_folder_that_cannot_be_read_has_none(make_xp, monkeypatch):
    for name in ("checkpoint_9.th", "checkpoint_10.th", "checkpoint_best.th", "checkpoint.th", "other.th"):
        folder = make_xp(name=name)
    xp = Experiment(folder, SIG)
    assert [path.name for path in xp.latest_checkpoints] == [
        "checkpoint.th", "checkpoint_10.th", "checkpoint_9.th", "checkpoint_best.th"]

    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)
    monkeypatch.setattr("os.listdir", denied)
    assert xp.latest_checkpoints == [] and xp.offer_other(folder / "checkpoint.th", lambda path: True) == ""


def test_a_truncated_checkpoint_offers_no_truncated_one(make_xp, dora_dir):
    for name in ("checkpoint.th", "checkpoint_2.th"):
        cut(make_xp(name=name) / name)
    with pytest.raises(CheckpointError) as error:
        export_xp(SIG, dora_dir)
    assert "--checkpoint" not in error.value.hint


def test_a_checkpoint_of_another_experiment_is_not_offered(make_xp, dora_dir):
    folder = make_xp()
    cut(folder / "checkpoint.th")
    shutil.copy(make_xp("beef0000") / "checkpoint.th", folder / "checkpoint_2.th")
    with pytest.raises(CheckpointError) as error:
        export_xp(SIG, dora_dir)
    assert "--checkpoint" not in error.value.hint


def test_the_dora_folder_is_found_from_a_link_as_well(make_xp, dora_dir, tmp_path):
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


def test_an_experiment_that_was_trained_without_checkpoints_is_not_called_untrained(tmp_path):
    xp = Experiment.from_folder(tmp_path)
    (tmp_path / ".argv.json").write_text("[]")
    with pytest.raises(ExperimentError, match="Train the experiment first"):
        xp.checkpoint()
    (tmp_path / "history.json").write_text('[{"train": {"ce": 1.0}}]')
    assert xp.has_no_checkpoint and not xp.is_untrained
    with pytest.raises(ExperimentError, match="Train the experiment with checkpoints"):
        xp.checkpoint()


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "file", "wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    assert read_small_text(tmp_path / "file") == "" and read_small_text(tmp_path / "none") == ""


def test_a_grid_is_the_links_that_dora_left(xps, dora_dir):
    assert list_grids(dora_dir) == []
    with pytest.raises(ExperimentError, match="dora grid was never run in this folder"):
        grid_xps("sweep", dora_dir)
    (dora_dir / "grids" / "sweep").mkdir(parents=True)
    with pytest.raises(ExperimentError, match="'sweep' in .* has no experiments. Run dora grid sweep again"):
        grid_xps("sweep", dora_dir)
    (dora_dir / "grids" / "sweep" / "beef0000").symlink_to(xps / "beef0000")
    assert list_grids(dora_dir) == ["sweep"]
    assert grid_xps("sweep", dora_dir) == [Experiment(xps / "beef0000", "beef0000")]
    for name, hint in (("swep", "did you mean sweep?"), ("other", "choose one of sweep")):
        with pytest.raises(ExperimentError, match=f"No grid '{name}'") as error:
            grid_xps(name, dora_dir)
        assert (error.value.code, error.value.hint) == ("grid-not-found", hint)


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
    message = rf"No checkpoint.th in {folder}: it has only a release \(export\)"
    with pytest.raises(ExperimentError, match=message):
        export_xp(SIG, dora_dir)


@pytest.mark.parametrize("text", ["[1, 2]", '[{"valid": {}}, null]', '[["valid"]]'])
def test_a_history_is_a_list_of_mappings(tmp_path, text):
    (tmp_path / "history.json").write_text(text)
    xp = Experiment(tmp_path, None)
    assert xp.is_history_broken and xp.history == []


COMMIT = "4ca6074e0e6551045b675b29274420999095ccbe"


def ran_in(folder, link, cwd):
    """Write what Dora and Hydra leave of a run in a clone."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "hydra.yaml").write_text(f"hydra:\n  runtime:\n    version: 1.3.8\n    cwd: {cwd}\n")
    (folder / "code").symlink_to(link)
    return Experiment(folder, None)


@pytest.mark.parametrize("cwd", [f"/d/codes/{COMMIT}", f"/d/codes/{COMMIT}/sub", f"'/tmp/a b/{COMMIT}'"])
def test_the_commit_of_a_training_is_that_of_the_clone_that_dora_ran_it_in(tmp_path, cwd):
    assert ran_in(tmp_path / "x", f"/d/codes/{COMMIT}", cwd).git(2 ** 62) == {"commit": COMMIT, "dirty": False}


@pytest.mark.parametrize("is_in_clone", [True, False])
def test_the_commit_of_a_model_in_memory_is_known_only_in_the_clone(tmp_path, monkeypatch, is_in_clone):
    clone = tmp_path / COMMIT / "project"
    clone.mkdir(parents=True)
    xp = ran_in(tmp_path / "x", clone.parent, clone)
    monkeypatch.chdir(clone if is_in_clone else tmp_path)  # as in a notebook
    assert xp.git() == ({"commit": COMMIT, "dirty": False} if is_in_clone else None)


def test_the_commit_of_a_checkpoint_or_history_that_is_older_than_the_last_run_is_unknown(tmp_path):
    xp = ran_in(tmp_path / "x", f"/d/codes/{COMMIT}", f"/d/codes/{COMMIT}")
    ran = os.stat(tmp_path / "x" / ".hydra" / "hydra.yaml").st_mtime_ns
    assert xp.git(ran) == xp.git(ran + 1) == {"commit": COMMIT, "dirty": False} and xp.git(ran - 1) is None
    history = tmp_path / "x" / "history.json"
    history.touch()
    for time, is_known in (ran, True), (ran - 1, False):  # the last run trained nothing, and the checkpoint was copied
        os.utime(history, ns=(time, time))
        assert (xp.git(ran + 1) is not None) == is_known


@pytest.mark.parametrize(("link", "cwd"), [
    (f"/d/codes/{COMMIT}", "/home/me/project"),  # run again without git_save
    (f"/d/codes/{COMMIT[:-1]}f", f"/d/codes/{COMMIT}"), ("/d/codes/main", "/d/codes/main"), (".", f"/d/{COMMIT}x")])
def test_a_commit_that_dora_did_not_record_is_unknown(tmp_path, link, cwd):
    assert ran_in(tmp_path / "x", link, cwd).git(2 ** 62) is None


def test_a_folder_of_code_is_not_read(tmp_path):
    (tmp_path / "code" / ".git").mkdir(parents=True)
    (tmp_path / "code" / ".git" / "HEAD").write_text(COMMIT)
    assert Experiment(tmp_path, None).git(2 ** 62) is None


def test_a_prefix_is_found_without_a_look_at_each_experiment(xps, dora_dir, monkeypatch):
    examined = []
    is_folder = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: examined.append(str(path)) or is_folder(path))
    monkeypatch.setattr(os, "scandir", None)
    assert find_xp("0123a", dora_dir).sig == "0123abcd"
    assert examined == [str(xps / "0123a"), str(xps / "0123abcd")]
    with pytest.raises(ExperimentError, match="matches 2 experiments"):
        find_xp("0123", dora_dir)


@pytest.mark.parametrize(("text", "name"), [
    ("musicgen", "musicgen"), ("my solver", "my solver"), ("'my solver'", "my solver"), ('"my solver"', "my solver"),
    ("mine  # a comment", "mine"), ("${name}", "${name}"), ("null", None), ("~", None), ("???", None),
    ("'null'", "null"), ("", None)])
def test_the_solver_is_read_as_yaml_does(text, name):
    assert solver_in(f"lr: 1\nsolver: {text}\nother: 2\n") == name
    if "$" not in text:
        assert (Config.parse(f"solver: {text}").get("solver") or None) == name


def test_lines_of_a_file_end_as_python_reads_them(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"a: 1\r\nb: 2\rc: 3\x0b\n")
    assert read_small_text(tmp_path / "config.yaml") == (tmp_path / "config.yaml").read_text()
