"""The metrics of an epoch, and which epoch is the best by them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Optional

MOST_METRICS, MOST_NAME = 1000, 200  # of an epoch, and characters; whoever has more reads them in the checkpoint


def best_epoch(history: Sequence[Any], metrics: Sequence[str]) -> Optional[dict[str, Any]]:
    """The epoch with the lowest validation metric, as AudioCraft's `update_best_state_from_stage` has it.

    Args:
        history: the metrics by stage, one entry an epoch.
        metrics: names in the `valid` stage; the first that is there counts; without any, the last epoch is taken.
    """
    stages = [epoch.get("valid") if isinstance(epoch, dict) else None for epoch in history]
    found = [(index, valid) for index, valid in enumerate(stages, 1) if isinstance(valid, dict)]
    if not found:
        return None
    for metric in metrics:
        scored = [(valid[metric], index, valid) for index, valid in found if is_number(valid.get(metric))]
        if scored:
            _, index, valid = min(scored, key=lambda entry: (entry[0], -entry[1]))  # the last of equals
            return {"metric": metric, "epoch": index, "valid": {**_numbers(valid), metric: valid[metric]}}
    index, valid = found[-1]
    return {"metric": None, "epoch": index, "valid": _numbers(valid)}


def is_number(value: Any) -> bool:
    """Whether a metric is a number, finite, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _numbers(metrics: Mapping[Any, Any]) -> dict[str, float]:
    return {str(name): value for name, value in islice(metrics.items(), MOST_METRICS)
            if is_number(value) and len(str(name)) <= MOST_NAME}
