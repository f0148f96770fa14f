"""Find the epoch of a best state."""

import json
import re

import pytest
import torch
from helpers import SIG, model_state, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.errors import OptionError
from audiocraft_export.inspection.inspect_file import inspect_file
from audiocraft_export.release import metrics as module
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.release.metrics import BestRule, OwnRule, best_value, is_number

NAN, INF = float("nan"), float("inf")
MARKS = {"compression_model_checkpoint": "//sig/c0dec000", "compression_model": "encodec"}  # of AudioCraft's solvers
HISTORY = [{"valid": {"loss": loss, "acc": acc}, "test": {"f1.5": acc}} for loss, acc in [(.3, .5), (.4, .9), (.5, .8)]]


def valid(values, metric="ce"):
    return [{"valid": {metric: value}} for value in values]


@pytest.mark.parametrize(("values", "epoch"), [
    ([2.0, 1.0, 3.0], 2), ([1.0, 1.0, 2.0], 2), ([NAN, 5.0], 2), ([float("-inf"), 5.0], 2), (["1", True, 7], 3)])
def test_the_best_epoch_is_the_last_with_the_lowest_finite_number(values, epoch):
    best = BestRule("ce").best(valid(values))
    assert best["epoch"] == epoch and best["metric"] == "ce" and best["valid"] == {"ce": values[epoch - 1]}


@pytest.mark.parametrize(("values", "epoch"), [
    ([2.0, 1.0, 3.0], 2), ([1.0, 1.0, 2.0], 2), ([NAN, 5.0], None), ([3.0, NAN, 1.0], 3), ([1.0, NAN], 1),
    ([float("inf")], 1), (["1", 7], None), ([1.0, None], None), ([], None)])
def test_audiocraft_keeps_the_state_whose_value_equals_the_minimum_until_then(values, epoch):
    assert BestRule("ce").epoch(valid(values)) == epoch


@pytest.mark.parametrize(("values", "epoch"), [
    ([2.0, 1.0, 3.0], 2), ([1.0, 1.0, 2.0], None), ([NAN, 5.0], None), ([3.0, 5.0, NAN], None), ([3.0, NAN, 1.0], 3),
    ([None, 2.0, None, 1.0], 4), ([None], None), ([3.0, -INF, 1.0, 2.0], None), ([INF, 1.0], 2), ([INF, NAN, 1.0], 3),
    ([INF], None), ([1.0, INF], 1)])
def test_of_a_metric_that_is_named_equal_values_nan_and_an_infinite_best_prove_nothing(values, epoch):
    assert BestRule.parse("ce").epoch(valid(values)) == epoch


def test_without_a_metric_the_last_validation_is_the_best():
    history = [{"valid": {"a": 1}}, {"valid": {"a": 2}}, "odd"]
    assert BestRule("ce").best(history) == {"metric": None, "epoch": 2, "valid": {"a": 2}}
    assert BestRule().epoch(history) == 2
    assert BestRule("ce").best([{"train": {"ce": 1}}, None]) is None and BestRule().epoch([{}]) is None


@pytest.mark.parametrize(("text", "rule", "epoch", "value"), [
    ("loss", BestRule("loss", is_audiocraft=False), 1, .3), ("acc:max", BestRule("acc", "valid", True, False), 2, .9),
    ("acc:min", BestRule("acc", is_audiocraft=False), 1, .5),
    ("valid.acc:max", BestRule("acc", "valid", True, False), 2, .9),
    ("test.f1.5:max", BestRule("f1.5", "test", True, False), 2, .9)])
def test_the_option_names_a_metric_a_stage_and_a_direction(text, rule, epoch, value):
    named = BestRule.parse(ExportOptions(metric=text).metric)
    assert named == rule and named.epoch(HISTORY) == epoch
    assert best_value(named.describe(HISTORY, epoch)) == value


@pytest.mark.parametrize("metric", ["", ":max", "acc:maximum", "acc:max:min", " ", 3])
def test_a_metric_that_names_nothing_is_refused(metric):
    with pytest.raises(OptionError):
        ExportOptions(metric=metric)


@pytest.mark.parametrize(("metric", "epoch", "best"), [
    (None, None, None), ("acc:max", 2, {"metric": "acc", "epoch": 2, "valid": {"loss": .4, "acc": .9}}),
    ("test.f1.5:max", 2, {"metric": "test.f1.5", "epoch": 2, "valid": {"loss": .4, "acc": .9}, "value": .9}),
    ("accuracy", None, None)])
def test_a_release_has_an_epoch_only_if_it_is_known(make_xp, dora_dir, metric, epoch, best):
    folder = make_xp(history=HISTORY)
    plain = export_xp(SIG, dora_dir).manifest
    assert (plain.weights_epoch, plain.best) == (None, None)
    report = export_xp(SIG, dora_dir, ExportOptions(metric=metric))
    manifest = json.loads((folder / "export" / "export.json").read_text())
    assert (manifest["epoch"], manifest["weights_epoch"], manifest["best"]) == (3, epoch, best)
    assert f"best_state{f' of epoch {epoch},' if epoch else ''} after 3 epochs" in str(report)
    assert any("metrics of this stage: loss, acc" in text for text in manifest["warnings"]) == (metric == "accuracy")
    assert not export_xp(SIG, dora_dir, ExportOptions(metric=metric)).written
    assert not export_xp(SIG, dora_dir).written  # the metric does not affect the weights


@pytest.mark.parametrize("parts", [("model",), ("model", "head")], ids=len)
@pytest.mark.parametrize(("latest", "metric", "found"), [
    ("model", "acc", None), ("model", "acc:max", 3), ("ema", "acc", None), ("other", "acc", 1)])
def test_a_best_state_that_has_the_latest_weights_is_of_no_earlier_epoch(make_xp, dora_dir, parts, latest, metric,
                                                                         found):
    best = {part: model_state(index) for index, part in enumerate(parts, 3)}
    sections = {"ema": {"state": best}} if latest == "ema" else best if latest == "model" else {}
    make_xp(history=valid([.1, .2, .3], "acc"), best_state=best, **sections)
    manifest = export_xp(SIG, dora_dir, metric=metric).manifest
    assert manifest.weights_epoch == found
    warning = ("unknown-epoch: the epoch of the weights is unknown: acc has its lowest value in epoch 1, but the best "
               "state has the weights of the last epoch, 3. If the highest value is the best, set metric=acc:max")
    assert (warning in manifest.warnings) == (found is None)


@pytest.mark.parametrize(("metric", "is_warned"), [
    ("acc", True), ("acc:min", False), ("acc:max", False), ("loss", False),
    ("test.f1.5", True), ("test.f1.5:max", False)])
def test_a_score_without_a_direction_is_warned_of(make_xp, dora_dir, metric, is_warned):
    make_xp(history=HISTORY)
    warnings = export_xp(SIG, dora_dir, metric=metric).manifest.warnings
    warning = (f"metric-direction: metric={metric} takes the lowest value as the best one; use metric={metric}:max if "
               f"it is the highest, or metric={metric}:min")
    assert (warning in warnings) == any(map(re.compile("metric-direction").match, warnings)) == is_warned


@pytest.mark.parametrize(("solver", "history", "weights", "epoch", "metric"), [
    ("musicgen", valid([3., 1., 1., 2.]), "best", 3, "ce"), ("musicgen", valid([3., 1.5, 1., 2.]), "last", 4, None),
    ("musicgen", valid([NAN, 1.]), "best", None, None), ("compression", valid([1., 2.]), "best", 2, None),
    ("mine", valid([1., 2.]), "best", None, None), ("mine", valid([1., 2.]), "ema", 2, None)])
def test_the_epoch_of_the_weights_by_solver(make_xp, dora_dir, solver, history, weights, epoch, metric):
    make_xp(history=history, **{"xp.cfg": with_cfg(solver=solver, **MARKS)})
    manifest = export_xp(SIG, dora_dir, ExportOptions(weights=weights, codec="none")).manifest
    assert (manifest.weights_epoch, (manifest.best or {}).get("metric")) == (epoch, metric)
    assert manifest.best is None or manifest.best["epoch"] == epoch


@pytest.mark.parametrize("options", [{}, {"metric": "acc:max"}, {"weights": "last"}, {"weights": "w"}])
def test_weights_that_are_neither_the_best_nor_the_latest_state_are_of_an_unknown_epoch(make_xp, dora_dir, options):
    folder = make_xp()
    (folder / ".argv.json").write_text("[]")
    (folder / "history.json").write_text(json.dumps(HISTORY))
    weights = {"t": torch.ones(2)}
    torch.save({"w": weights} if "w" in options.values() else weights, folder / "checkpoint.th")
    (folder / "config.yaml").write_text("lr: 1")
    manifest = export_xp(SIG, dora_dir, ExportOptions(**options, config=folder / "config.yaml")).manifest
    assert (manifest.epoch, manifest.weights_epoch, manifest.best) == (3, None, None)
    assert not any("metric" in text for text in manifest.warnings)


@pytest.mark.parametrize(("options", "epoch"), [
    ({"metric": "acc:max"}, 2), ({"weights": "last"}, None), ({"weights": "model"}, None)])
def test_the_latest_state_in_a_checkpoint_without_history_may_be_older_than_that_of_the_folder(make_xp, dora_dir,
                                                                                                options, epoch):
    folder = make_xp(history=...)
    (folder / ".argv.json").write_text("[]")
    (folder / "history.json").write_text(json.dumps(HISTORY))
    manifest = export_xp(SIG, dora_dir, ExportOptions(**options)).manifest
    assert (manifest.epoch, manifest.weights_epoch) == (3, epoch)


def test_how_many_epochs_a_state_without_any_history_has_is_unknown(make_xp, dora_dir):
    folder = make_xp(history=..., name="checkpoint_3.th")
    (folder / ".argv.json").write_text("[]")
    (folder / "history.json").write_text(json.dumps(HISTORY))  # the metrics of the last checkpoint
    report = export_xp(SIG, dora_dir, ExportOptions(checkpoint=3))
    assert report.manifest.epoch is None and " exported: best_state, 3 tensors" in str(report)
    assert any("the number of trained epochs is unknown" in text for text in report.manifest.warnings)
    assert Manifest.load(folder / "export").epoch is None and inspect_file(folder / "checkpoint_3.th").epochs is None


def test_a_cache_written_in_shards_has_no_metric_as_in_audiocraft(make_xp, dora_dir):
    cache = {"path": "/cache", "write": True, "write_num_shards": 2}
    make_xp(history=[*valid([1., 2.]), {}], **{"xp.cfg": with_cfg(solver="musicgen", cache=cache, **MARKS)})
    assert export_xp(SIG, dora_dir, ExportOptions(codec="none")).manifest.weights_epoch == 2


def test_the_best_epoch_of_an_own_rule_is_unknown_until_it_is_set():
    assert OwnRule(best_epoch=2).epoch(HISTORY) == 2 and OwnRule(best_epoch=4).epoch(HISTORY) is None
    assert OwnRule().epoch(HISTORY) is None


def test_no_more_metrics_are_kept_than_anybody_reads_but_the_one_that_counts(monkeypatch):
    monkeypatch.setattr(module, "MAX_METRICS", 1)
    monkeypatch.setattr(module, "MAX_METRIC_NAME", 3)
    assert BestRule("ce").best([{"valid": {"a": 1, "b": 2, "ce": 3}}])["valid"] == {"a": 1, "ce": 3}
    assert BestRule().best([{"valid": {"long": 1}}])["valid"] == {}


@pytest.mark.parametrize("value", [True, NAN, float("inf"), 10**400, "1", None])
def test_only_finite_numbers_are_metrics(value):
    assert not is_number(value)


def test_a_metric_whose_name_has_a_dot_is_named_with_its_stage():
    history = [{"valid": {"acc.top1": 0.5, "ce": 1.}, "test": {"acc.top1": 0.25}}]
    assert module.metric_names(history) == ["ce", "test.acc.top1", "valid.acc.top1"]
    for name in module.metric_names(history):
        chosen = BestRule.parse(name)
        assert chosen.name == name and is_number(chosen.value(history[0]))
    with pytest.raises(OptionError) as error:
        module.check_metric("acc.top1:max", [history])
    assert "valid.acc.top1" in error.value.hint
