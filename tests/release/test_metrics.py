"""The best epoch by its validation metrics."""

import pytest

from audiocraft_export.release import metrics as module
from audiocraft_export.release.metrics import best_epoch, is_number


@pytest.mark.parametrize(("values", "epoch"), [
    ([2.0, 1.0, 3.0], 2), ([1.0, 1.0, 2.0], 2), ([float("nan"), 5.0], 2), ([float("-inf"), 5.0], 2),
    (["1", True, 7], 3)])
def test_the_best_epoch_is_the_last_with_the_lowest_finite_number(values, epoch):
    best = best_epoch([{"valid": {"ce": value}} for value in values], ["ce"])
    assert best["epoch"] == epoch and best["metric"] == "ce" and best["valid"] == {"ce": values[epoch - 1]}


def test_the_first_metric_that_any_epoch_has_counts():
    history = [{"valid": {"loss": 1}}, {"train": {"ce": 0}}, {"valid": {"ce": 9, "loss": 2}}, {"valid": {"ce": 10}}]
    assert best_epoch(history, ["ce", "loss"]) == {"metric": "ce", "epoch": 3, "valid": {"ce": 9, "loss": 2}}
    assert best_epoch(history, ["loss"])["epoch"] == 1


def test_without_a_known_metric_the_last_validation_counts_and_without_a_validation_none():
    assert best_epoch([{"valid": {"a": 1}}, {"valid": {"a": 2}}, "odd"], ["ce"]) == {
        "metric": None, "epoch": 2, "valid": {"a": 2}}
    assert best_epoch([{"train": {"ce": 1}}, None], ["ce"]) is None


def test_no_more_metrics_are_kept_than_anybody_reads_but_the_one_that_counts(monkeypatch):
    monkeypatch.setattr(module, "MAX_METRICS", 1)
    monkeypatch.setattr(module, "MAX_METRIC_NAME", 3)
    assert best_epoch([{"valid": {"a": 1, "b": 2, "ce": 3}}], ["ce"])["valid"] == {"a": 1, "ce": 3}
    assert best_epoch([{"valid": {"long": 1}}], [])["valid"] == {}


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), 10**400, "1", None])
def test_what_is_no_finite_number_is_no_metric(value):
    assert not is_number(value)
