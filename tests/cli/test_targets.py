"""The Dora folder and the experiments that a command line names."""

import argparse
from pathlib import Path

import pytest

from audiocraft_export import ExportError, export_xp
from audiocraft_export.cli.targets import DoraDir, add_dora_dir, find_checkpoint, find_experiment
from audiocraft_export.experiment.xp import Experiment

from .commands import command


def test_no_dora_folder_is_one_sentence(tmp_path):
    assert "is no Dora folder" in command("list", cwd=tmp_path, code=1).stderr
    wrong = command("list", "--elsewhere", cwd=tmp_path, code=2).stderr
    assert "--elsewhere is no option of list: use --dora-dir" in wrong


@pytest.mark.parametrize(("target", "says"), [
    ("outputs", "this is a Dora folder"), ("outputs/xps/11111111/export", "this is a release"),
    ("outputs/xps/33333333", "a link to nothing")])
def test_a_folder_that_is_no_experiment_is_said_to_be_what_it_is(train, tmp_path, dora_dir, target, says):
    train("11111111", [])
    export_xp("11111111", dora_dir)
    (dora_dir / "xps" / "33333333").mkdir()
    (dora_dir / "xps" / "33333333" / "checkpoint.th").symlink_to("nowhere")
    assert says in command("run", target, cwd=tmp_path, code=1).stderr


def parsed(*argv):
    parser = argparse.ArgumentParser()
    add_dora_dir(parser)
    return DoraDir(parser.parse_args(argv))


def test_the_dora_folder_is_the_first_that_is_named(monkeypatch):
    for name in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE"):
        monkeypatch.delenv(name, raising=False)
    assert parsed().path == parsed().known == Path("outputs")
    monkeypatch.setenv("DORA_PACKAGE", "nowhere")
    assert parsed().known is None and parsed("--dora-dir", "mine").path == Path("mine")
    with pytest.raises(ExportError, match="nowhere.train fails"):
        _ = parsed().path
    monkeypatch.setenv("AUDIOCRAFT_DORA_DIR", "theirs")
    assert parsed().path == Path("theirs") and parsed("-P", "nowhere").known is None


def test_a_compression_model_is_looked_up_elsewhere_only_for_a_copy_or_when_asked(monkeypatch, tmp_path):
    for name in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE"):
        monkeypatch.delenv(name, raising=False)
    inside, copy = (Experiment.from_folder(tmp_path / parent / "11111111") for parent in ("xps", "copies"))
    assert parsed().for_codec(inside) is None and parsed().for_codec(copy) == Path("outputs")
    assert parsed("--dora-dir", "mine").for_codec(inside) == Path("mine")
    monkeypatch.setenv("DORA_PACKAGE", "nowhere")
    assert parsed().for_codec(copy) is None  # that package is not imported for it


def test_a_checkpoint_is_named_by_its_file_or_by_its_epoch(make_xp, dora_dir):
    folder = make_xp("11111111", "checkpoint_3.th")
    xp = find_experiment("1111", parsed("--dora-dir", str(dora_dir)))
    assert xp.folder == folder and find_checkpoint("1111", xp, "3") == folder / "checkpoint_3.th"
    file = str(folder / "checkpoint_3.th")
    assert find_checkpoint(file, xp) == folder / "checkpoint_3.th"
    with pytest.raises(ExportError, match="is a checkpoint already: leave --checkpoint 3 out"):
        find_checkpoint(file, xp, "3")
