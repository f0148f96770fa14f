"""How a model was trained: the part `training` of a card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ....release.manifest import Manifest
from ..history import Metrics, foremost, metrics_of
from ..markdown import amount, code, number, table
from ..plot import DARK_FILE, LIGHT_FILE

MOST_OF_A_STAGE = 8  # metrics shown; the checkpoint has them all
MISSING = "–"
ALT = "Training curve: the metric of each stage, by epoch"


def training_part(manifest: Manifest, history: Sequence[Any], curves: Sequence[str], repo: Optional[str]) -> str:
    """How the model was trained.

    Args:
        manifest: of the release.
        history: the metrics by stage, one entry an epoch.
        curves: names of the pictures that lie beside the card.
        repo: on the Hub, if it goes there.
    """
    parts = [_summary(manifest), _bands(manifest), _table(manifest, metrics_of(history)),
             _picture(repo) if {LIGHT_FILE, DARK_FILE} <= {*curves} else ""]
    return "\n\n".join(["## Training", *filter(None, parts)])


def _summary(manifest: Manifest) -> str:
    if not manifest.epoch:
        return "No epoch was finished."
    best = manifest.best or {}
    chosen = f" The best by {code(best['metric'])} of `valid` is epoch {best['epoch']}." if best.get("metric") else ""
    return f"{amount(manifest.epoch, 'epoch', 'epochs')}.{chosen}"


def _bands(manifest: Manifest) -> str:
    rows = [(str(index), code(band.get("sig") or "unknown"), str(band.get("epoch")), *_best_of(band.get("best")))
            for index, band in enumerate(manifest.bands or [])]
    return table(("band", "experiment", "epochs", "best epoch", "metric", "value"), rows) if rows else ""


def _best_of(best: Optional[Mapping[str, Any]]) -> tuple[str, str, str]:
    if not best or not best.get("metric"):
        return MISSING, MISSING, MISSING
    return str(best["epoch"]), code(best["metric"]), number(best["valid"][best["metric"]])


def _table(manifest: Manifest, metrics: Metrics) -> str:
    best = manifest.best or {}
    heads = {1: "first", manifest.epoch: "last", **({best["epoch"]: "best"} if best.get("metric") else {})}
    columns = sorted(epoch for epoch in heads if epoch > 0)
    rows = list(_rows(metrics, columns, best.get("metric")))
    if not rows:
        return ""
    text = table(("stage", "metric", *(f"epoch {epoch} ({heads[epoch]})" for epoch in columns)), rows)
    left = sum(map(len, metrics.values())) - len(rows)
    return f"{text}\n\n{left:,} more of each epoch are in the checkpoint." if left else text


def _rows(metrics: Metrics, columns: Sequence[int], chosen: Optional[str]) -> Iterator[list[str]]:
    for stage, of_stage in metrics.items():
        for metric in foremost([*of_stage], chosen)[:MOST_OF_A_STAGE]:
            values = [of_stage[metric].get(epoch) for epoch in columns]
            if any(value is not None for value in values):
                yield [code(stage), code(metric), *(MISSING if each is None else number(each) for each in values)]


def _picture(repo: Optional[str]) -> str:
    """The pictures; the Hub serves those in `srcset` only by their full address."""
    from huggingface_hub import hf_hub_url
    dark = hf_hub_url(repo, DARK_FILE) if repo else DARK_FILE
    return (f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
            f'  <img alt="{ALT}" src="{LIGHT_FILE}">\n</picture>')
