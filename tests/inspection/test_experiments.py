"""Experiments with their metrics and releases, from Python."""

import json

import pytest
from helpers import SIG

from audiocraft_export import ExportError, export_xp, find_xp, list_xps
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.inspection.experiments import XP

OTHER = "11111111"


@pytest.fixture
def trained(make_xp):
    """An XP as Dora and Hydra store it, with three epochs."""
    folder = make_xp()
    (folder / ".argv.json").write_text(json.dumps(["lr=1", "<script>alert(1)</script>"]))
    (folder / "history.json").write_text(json.dumps([{"valid": {"ce": loss}} for loss in (3., 1., 2.)]))
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("solver: musicgen\n")
    return folder


def test_the_list_has_an_experiment_for_each_signature(trained, make_xp, dora_dir):
    make_xp(OTHER)
    found = list_xps(dora_dir)
    assert isinstance(found, list) and all(isinstance(xp, Experiment) for xp in found)
    assert [xp.sig for xp in found] == [SIG, OTHER] and found[0] == find_xp("012", dora_dir)


def test_an_experiment_has_overrides_metrics_and_a_release(trained, dora_dir):
    xp, = list_xps(dora_dir)
    assert isinstance(xp, XP) and xp.overrides == ["lr=1", "<script>alert(1)</script>"]
    assert (xp.epochs, xp.metric, xp.best, xp.best_epoch) == (3, "ce", 1., 2) and len(xp.history) == 3
    assert str(xp.release) == "missing"
    export_xp(SIG, dora_dir)
    assert xp.release.key == "up_to_date" and "up to date" in xp._repr_html_()


def test_an_experiment_without_files_has_no_metrics(dora_dir):
    (dora_dir / "xps" / OTHER).mkdir(parents=True)
    xp, = list_xps(dora_dir)
    assert (xp.overrides, xp.epochs, xp.metric, xp.best, xp.best_epoch) == ([], 0, None, None, None)


def test_the_dora_folder_is_found_as_by_the_command(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIOCRAFT_DORA_DIR", raising=False)
    monkeypatch.delenv("DORA_PACKAGE", raising=False)
    assert [xp.sig for xp in list_xps()] == [SIG]
    monkeypatch.chdir(trained)
    assert find_xp("01").folder == trained
    monkeypatch.chdir("/")
    with pytest.raises(ExportError, match="is not a Dora folder"):
        list_xps()


def test_overrides_are_escaped_in_a_notebook(trained, make_xp, dora_dir):
    make_xp(OTHER)
    shown = list_xps(dora_dir)._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown and "<caption>Experiments: 2</caption>" in shown
    assert "<td>ce 1 in epoch 2</td>" in shown
