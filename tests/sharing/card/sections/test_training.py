"""The section `training` of a card: epochs and a table of metrics."""

from dataclasses import replace

import pytest

from audiocraft_export.release.metrics import BestRule
from audiocraft_export.sharing.card.plot import plot_history
from audiocraft_export.sharing.card.sections.training import training_section
from audiocraft_export.sharing.card.source import CardSource

from ..releases import CONFIGS, card


def test_the_first_the_best_and_the_last_epoch_stand_in_a_table(release):
    history = [{"valid": {"ce": value}} for value in (3.0, 1.0, 2.0)]
    text = card(*release(history=history))
    assert "| stage | metric | epoch 1 (first) | epoch 2 (best) | epoch 3 (last) |" in text
    assert "| `valid` | `ce` | 3 | 1 | 2 |" in text


@pytest.mark.parametrize("history", [[], [{}], [{"valid": {}}], [None, 3, "x"], [{"valid": {"ce": float("nan")}}],
                                     [{"valid": {"ce": 10 ** 400, "x": True}}], [{3: {4: 5}}, {"valid": [1]}]])
def test_a_history_of_nothing_has_neither_table_nor_picture(release, history):
    manifest, config, history = release(history=history)
    picture = plot_history(history, manifest.best)
    text = card(manifest, config, history, curve=picture and "5891b5")
    assert picture is None and "![" not in text and "<picture>" not in text
    assert "| stage |" not in text and "## Training" in text


def test_non_numeric_metrics_are_left_out_of_the_table(release):
    history = [{"valid": {"ce": float("nan"), "ok": 1.0}}, {"valid": {"ce": 2.0, "ok": float("inf"), "no": None}}]
    text = card(*release(history=history))
    assert "| `valid` | `ce` | – | 2 |" in text and "| `valid` | `ok` | 1 | – |" in text and "`no`" not in text
    assert "| nan" not in text and ".nan" not in text


def test_a_training_of_many_metrics_makes_no_long_table(release):
    text = card(*release(history=[{"train": {f"m{index}": 1.0 for index in range(900)}, "valid": {"ce": 1.0}}]))
    assert text.count("| `train` |") == 8 and "| `valid` | `ce` | 1 |" in text
    assert "The checkpoint has 892 more metrics per epoch." in text


def test_bands_stand_in_a_table_with_their_epochs(release):
    manifest, config, _ = release(CONFIGS["diffusion"])
    bands = [{"sig": sig, "epoch": 4, "checkpoint": {"name": "checkpoint.th", "bytes": 9},
              "best": BestRule("loss").best([{"valid": {"loss": value}}])}
             for sig, value in [("aa", 0.5), ("bb", 0.25)]]
    text = card(replace(manifest, sig=None, bands=bands, best=None), config)
    assert "| 0 | `aa` | 4 | 1 | `loss` | 0.5 |" in text and "| 1 | `bb` | 4 | 1 | `loss` | 0.25 |" in text
    assert "| Bands | 2 |" in text and "| Experiment of band 1 | `bb` after 4 epochs" in text


def test_a_training_without_an_epoch_is_reported(release):
    manifest, config, _ = release()
    text = training_section(CardSource(replace(manifest, epoch=0, best=None), config))
    assert text == "## Training\n\nNo epoch was completed."
