"""Extract numeric metrics from the history of a training, which is untrusted data."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ...release.limits import MAX_METRIC_NAME, MAX_METRICS
from ...release.metrics import is_number
from .limits import MAX_EPOCHS, MAX_STAGES

Metrics = dict[str, dict[str, dict[int, float]]]  # values by stage, metric and epoch


def metrics_of(history: Sequence[Any]) -> Metrics:
    """Return the numbers in a history (one entry per epoch) by stage, metric and epoch; other values are skipped.

    Epochs are counted from 1.
    """
    found: Metrics = {}
    for number, epoch in enumerate(islice(history, MAX_EPOCHS), 1):
        for stage, metrics in _named_entries(epoch, MAX_STAGES, found):
            of_stage = found.setdefault(stage, {})
            for metric, value in _named_entries(metrics, MAX_METRICS, of_stage):
                if is_number(value):
                    of_stage.setdefault(metric, {})[number] = float(value)
    return {stage: metrics for stage, metrics in found.items() if metrics}


def by_importance(names: Sequence[str], best_metric: Any) -> list[str]:
    """Sort names of metrics: the metric that selects the best epoch is first, names with digits are last."""
    return sorted(names, key=lambda name: (name != best_metric, any(map(str.isdigit, name))))


def _named_entries(values: Any, most: int, known: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the entries of a mapping with valid names; together with `known`, at most `most` different names."""
    if not isinstance(values, dict):
        return []
    entries = [(name, value) for name, value in islice(values.items(), most)
               if isinstance(name, str) and 0 < len(name) <= MAX_METRIC_NAME]
    new = {*[name for name, _ in entries if name not in known][:most - len(known)]}
    return [(name, value) for name, value in entries if name in known or name in new]
