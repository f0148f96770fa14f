"""The metrics of a training, as numbers: a history may hold anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ...release.limits import MAX_METRIC_NAME, MAX_METRICS
from ...release.metrics import is_number

MOST_STAGES, MOST_EPOCHS = 8, 100_000
Metrics = dict[str, dict[str, dict[int, float]]]  # by stage, metric and epoch


def metrics_of(history: Sequence[Any]) -> Metrics:
    """The numbers in a history, by stage, metric and epoch (from 1); what is none is left out.

    Args:
        history: the metrics by stage, one entry an epoch.
    """
    found: Metrics = {}
    for number, epoch in enumerate(islice(history, MOST_EPOCHS), 1):
        for stage, metrics in _named(epoch, MOST_STAGES, found):
            of_stage = found.setdefault(stage, {})
            for metric, value in _named(metrics, MAX_METRICS, of_stage):
                if is_number(value):
                    of_stage.setdefault(metric, {})[number] = float(value)
    return {stage: metrics for stage, metrics in found.items() if metrics}


def foremost(names: Sequence[str], chosen: Any) -> list[str]:
    """Names of metrics with those first that say most.

    Args:
        names: in the order of the history.
        chosen: the metric by which the best epoch is chosen.
    """
    return sorted(names, key=lambda name: (name != chosen, any(map(str.isdigit, name))))


def _named(values: Any, most: int, known: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Some named entries of what may be a mapping; of new names no more than there may be in all."""
    entries = [(name, value) for name, value in islice(values.items(), most) if _is_name(name)] \
        if isinstance(values, dict) else []
    room = most - len(known)
    new = {name for name, _ in [entry for entry in entries if entry[0] not in known][:room]}
    return [(name, value) for name, value in entries if name in known or name in new]


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_METRIC_NAME
