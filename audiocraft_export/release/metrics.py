"""How a training selects its best state, and the metrics of an epoch."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Optional

from ..errors import OptionError
from ..options import METRIC
from .limits import MAX_METRIC_NAME, MAX_METRICS

VALID = "valid"  # the stage by which a best state is selected, where no other is named


@dataclass(frozen=True)
class Selection:
    """By which metric a training selects its best state.

    Args:
        metric: its name in the stage; None if each epoch with that stage is the best so far.
        stage: of the history.
        maximize: whether the highest value is the best.
        is_audiocraft: whether it is selected as in AudioCraft's `StandardSolver.update_best_state_from_stage`: each
            epoch has the metric, and of equal values the last one counts. For other trainings that is unknown.
    """

    metric: Optional[str] = None
    stage: str = VALID
    maximize: bool = False
    is_audiocraft: bool = True

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """The selection that the option `metric` names.

        Raises:
            OptionError: if it is invalid.
        """
        match = METRIC.fullmatch(text)
        if match is None:
            raise OptionError(f"metric={text} is no option: it takes NAME or STAGE.NAME, with :min or :max behind it.")
        return cls(match["name"], match["stage"] or VALID, match["direction"] == "max", is_audiocraft=False)

    @property
    def name(self) -> Optional[str]:
        """The metric, with its stage where that is another one than `valid`."""
        return self.metric if self.stage == VALID or self.metric is None else f"{self.stage}.{self.metric}"

    def values(self, history: Sequence[Any]) -> list[Any]:
        """The metric in each epoch, whatever it is; None where it is absent."""
        stages = [_stage(epoch, self.stage) for epoch in history]
        return [None if stage is None or self.metric is None else stage.get(self.metric) for stage in stages]

    def best(self, history: Sequence[Any]) -> Optional[dict[str, Any]]:
        """The epoch with the best finite number, of equal ones the last; without any, the last epoch with that stage.

        That is no proof that a training has kept the state of that epoch: see `epoch`.
        """
        sign = -1 if self.maximize else 1
        scored = [(sign * value, -index) for index, value in enumerate(self.values(history), 1) if is_number(value)]
        validated = [index for index, epoch in enumerate(history, 1) if _stage(epoch, self.stage) is not None]
        if not validated:
            return None
        return self.describe(history, -min(scored)[1] if scored else validated[-1])

    def epoch(self, history: Sequence[Any]) -> Optional[int]:
        """The epoch of the best state, from 1; None if the metrics do not prove it."""
        if self.metric is None:
            return max((index for index, epoch in enumerate(history, 1) if _stage(epoch, self.stage) is not None),
                       default=None)
        values = self.values(history)
        if self.is_audiocraft:
            return _epoch_of_audiocraft(values, self.maximize)
        numbers = {index: value for index, value in enumerate(values, 1) if is_number(value)}
        best = (max if self.maximize else min)(numbers.values(), default=None)
        found = [index for index, value in numbers.items() if value == best]
        return found[0] if len(found) == 1 else None

    def describe(self, history: Sequence[Any], epoch: int) -> dict[str, Any]:
        """The metrics of an epoch: `Manifest.best`."""
        value, valid = self.values(history)[epoch - 1], _numbers(_stage(history[epoch - 1], VALID) or {})
        if self.metric is None or not is_number(value):
            return {"metric": None, "epoch": epoch, "valid": valid}
        if self.stage == VALID:
            return {"metric": self.metric, "epoch": epoch, "valid": {**valid, self.metric: value}}
        return {"metric": self.name, "epoch": epoch, "valid": valid, "value": value}


@dataclass(frozen=True)
class OwnRule(Selection):
    """A rule of the solver's own, which has said for each epoch whether it is the best so far."""

    best_epoch: Optional[int] = None  # the last one of which it has said so; None if there is none

    def epoch(self, history: Sequence[Any]) -> Optional[int]:
        """That epoch, if it is one of this history."""
        return self.best_epoch if self.best_epoch is not None and self.best_epoch <= len(history) else None


def value_of(best: Mapping[str, Any]) -> Any:
    """The value of the metric in a `Manifest.best` that has one."""
    return best["value"] if "value" in best else best["valid"][best["metric"]]


def is_number(value: Any) -> bool:
    """Whether a metric is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _epoch_of_audiocraft(values: Sequence[Any], maximize: bool) -> Optional[int]:
    """The last epoch whose value equals `min` of all until then; none after NaN, if that is the first value."""
    found: Optional[int] = None
    lowest: Any = None
    for index, value in enumerate(values, 1):
        if not isinstance(value, (int, float)):  # AudioCraft would have stopped there
            return None
        score = -value if maximize else value
        lowest = score if lowest is None or score < lowest else lowest
        found = index if score == lowest else found
    return found


def _stage(epoch: Any, name: str) -> Optional[Mapping[Any, Any]]:
    stage = epoch.get(name) if isinstance(epoch, dict) else None
    return stage if isinstance(stage, dict) else None


def _numbers(metrics: Mapping[Any, Any]) -> dict[str, float]:
    return {str(name): value for name, value in islice(metrics.items(), MAX_METRICS)
            if is_number(value) and len(str(name)) <= MAX_METRIC_NAME}
