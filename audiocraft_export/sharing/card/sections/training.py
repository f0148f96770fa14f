"""Render the section `training` of a card: epochs, metrics and the training curve."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ....release.manifest import CURVE_FILE, Manifest
from ....release.metrics import best_value
from ..history import Metrics, by_importance, metrics_of
from ..limits import MAX_TABLE_METRICS
from ..markdown import amount, code, number, table
from ..source import CardSource

MISSING = "–"
CURVE = f"![Training curve: the metric of each stage, by epoch]({CURVE_FILE})"


def training_section(source: CardSource) -> str:
    """Render the section `training`."""
    parts = [_summary(source.manifest), _bands(source.manifest), _table(source.manifest, metrics_of(source.history)),
             CURVE if source.curve else ""]
    return "\n\n".join(["## Training", *filter(None, parts)])


def _summary(manifest: Manifest) -> str:
    if manifest.epoch is None:
        return "" if manifest.bands else "The number of epochs is unknown."
    if not manifest.epoch:
        return "No epoch was completed."
    epochs, epoch, best = amount(manifest.epoch, "epoch"), manifest.weights_epoch, manifest.known_best or {}
    if epoch is None:
        return f"Trained for {epochs}."
    metric = f", the best by {code(best['metric'])}" if best.get("metric") else ""
    return f"Trained for {epochs}. The released weights are from epoch {epoch}{metric}."


def _bands(manifest: Manifest) -> str:
    rows = [(str(index), code(band.get("sig") or "unknown"), str(band.get("epoch") or MISSING),
             *_best_of(band.get("best"))) for index, band in enumerate(manifest.bands or [])]
    return table(("band", "experiment", "epochs", "best epoch", "metric", "value"), rows) if rows else ""


def _best_of(best: Optional[Mapping[str, Any]]) -> tuple[str, str, str]:
    if not best or not best.get("metric"):
        return MISSING, MISSING, MISSING
    return str(best["epoch"]), code(best["metric"]), number(best_value(best))


def _table(manifest: Manifest, metrics: Metrics) -> str:
    best = manifest.known_best or {}
    heads = {1: "first", manifest.epoch or 0: "last", **({best["epoch"]: "best"} if best.get("metric") else {})}
    columns = sorted(epoch for epoch in heads if epoch > 0)
    rows = list(_rows(metrics, columns, best.get("metric")))
    if not rows:
        return ""
    text = table(("stage", "metric", *(f"epoch {epoch} ({heads[epoch]})" for epoch in columns)), rows)
    left = sum(map(len, metrics.values())) - len(rows)
    return f"{text}\n\nThe checkpoint has {amount(left, 'more metric')} per epoch." if left else text


def _rows(metrics: Metrics, columns: Sequence[int], best_metric: Optional[str]) -> Iterator[list[str]]:
    for stage, of_stage in metrics.items():
        for metric in by_importance([*of_stage], best_metric)[:MAX_TABLE_METRICS]:
            values = [of_stage[metric].get(epoch) for epoch in columns]
            if any(value is not None for value in values):
                yield [code(stage), code(metric), *(MISSING if each is None else number(each) for each in values)]
