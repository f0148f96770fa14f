"""The metrics of an epoch, and which epoch is the best by them."""

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Optional

from .limits import MAX_METRIC_NAME, MAX_METRICS


def best_epoch(history: Sequence[Any], metrics: Sequence[str]) -> Optional[dict[str, Any]]:
    """The epoch with the lowest validation metric, as AudioCraft's `update_best_state_from_stage` has it.

    Of some metrics of the `valid` stage, the first that any epoch has counts; without any, the last epoch is taken.
    """
    stages = [epoch.get("valid") if isinstance(epoch, dict) else None for epoch in history]
    found = [(index, valid) for index, valid in enumerate(stages, 1) if isinstance(valid, dict)]
    if not found:
        return None
    for metric in metrics:
        scored = [(valid[metric], -index, valid) for index, valid in found if is_number(valid.get(metric))]
        if scored:
            value, index, valid = min(scored, key=lambda entry: entry[:2])  # of equal ones the last
            return {"metric": metric, "epoch": -index, "valid": {**_numbers(valid), metric: value}}
    index, valid = found[-1]
    return {"metric": None, "epoch": index, "valid": _numbers(valid)}


def is_number(value: Any) -> bool:
    """Whether a metric is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _numbers(metrics: Mapping[Any, Any]) -> dict[str, float]:
    return {str(name): value for name, value in islice(metrics.items(), MAX_METRICS)
            if is_number(value) and len(str(name)) <= MAX_METRIC_NAME}
