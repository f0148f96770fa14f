"""Find the epoch of a best state, and its metrics."""

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Optional

from ..errors import OptionError, did_you_mean
from ..options import parse_metric
from .limits import MAX_METRIC_NAME, MAX_METRICS

VALID = "valid"  # the default stage of the metric
DURATION = "duration"  # Flashy stores the seconds of a stage under this name
_LARGEST = sys.float_info.max
_SCORE = re.compile(r"(?:^|[\W_])(?:acc|accuracy|auc|auroc|bleu|dice|f1|iou|map|mos|pesq|precision|psnr|recall|reward"
                    r"|score|sdr|si_?sdr|si_?snr|snr|ssim|stoi|visqol)(?:$|[\W_])", re.IGNORECASE)
LOSSES = ("ce", "loss")  # metrics that are shown if the metric of the solver is unknown


@dataclass(frozen=True)
class BestRule:
    """The rule by which a training selects its best state.

    Args:
        metric: name of the metric in the stage; None if every epoch with this stage replaces the best state.
        stage: name of the stage in the history.
        maximize: whether the highest value is the best.
        is_audiocraft: whether the rule is that of AudioCraft's `StandardSolver.update_best_state_from_stage`: every
            epoch has the metric, and the last of equal values wins. For other trainings, ties are undecidable.
    """

    metric: Optional[str] = None
    stage: str = VALID
    maximize: bool = False
    is_audiocraft: bool = True

    @classmethod
    def parse(cls, text: str) -> "BestRule":
        """Parse the option `metric`, as `loss` or `valid.accuracy:max`.

        Raises:
            OptionError: if the value is invalid.
        """
        match = parse_metric(text)
        return cls(match["name"], match["stage"] or VALID, match["direction"] == "max", is_audiocraft=False)

    @property
    def name(self) -> Optional[str]:
        """The name of the metric, as the option `metric` accepts it."""
        return None if self.metric is None else _full_name(self.stage, self.metric)

    def values(self, history: Sequence[Any]) -> list[Any]:
        """Return the value of the metric in each epoch, of any type; None where the metric is missing."""
        stages = [epoch.get(self.stage) if isinstance(epoch, dict) else None for epoch in history]
        return [stage.get(self.metric) if isinstance(stage, dict) else None for stage in stages]

    def value(self, epoch: Any) -> Any:
        """Return the value of the metric in an epoch, of any type; None if the metric is missing."""
        return self.values([epoch])[0]

    def best(self, history: Sequence[Any]) -> Optional[dict[str, Any]]:
        """Describe the epoch with the best finite value; of equal values, or without any value, the last epoch.

        The training may have kept the state of another epoch; `epoch` returns only what the history proves.

        Returns:
            As `describe`; None if no epoch has the stage.
        """
        numbers = {index: value for index, value in enumerate(self.values(history), 1) if is_number(value)}
        if numbers:
            best = (max if self.maximize else min)(numbers.values())
            return self.describe(history, [index for index, value in numbers.items() if value == best][-1])
        validated = [index for index, epoch in enumerate(history, 1) if _stage(epoch, self.stage) is not None]
        return self.describe(history, validated[-1]) if validated else None

    def epoch(self, history: Sequence[Any]) -> Optional[int]:
        """Return the epoch of the best state, counted from 1; None if the history does not determine it."""
        if self.metric is None:
            return max((index for index, epoch in enumerate(history, 1) if _stage(epoch, self.stage) is not None),
                       default=None)
        values = self.values(history)
        if self.is_audiocraft:
            return _epoch_of_audiocraft(values, self.maximize)
        nans = {index for index, value in enumerate(values, 1) if isinstance(value, float) and math.isnan(value)}
        numbers = {index: value for index, value in enumerate(values, 1)
                   if isinstance(value, (int, float)) and not isinstance(value, bool) and index not in nans}
        best = (max if self.maximize else min)(numbers.values(), default=None)
        found = [index for index, value in numbers.items() if value == best]
        # `<`, `not >` and `min` treat NaN differently, unless it is between the first value and the best one.
        is_known = len(found) == 1 and is_number(best) and all(min(numbers) < index < found[0] for index in nans)
        return found[0] if is_known else None

    def describe(self, history: Sequence[Any], epoch: int) -> dict[str, Any]:
        """Return the metrics of an epoch, counted from 1, in the structure of `Manifest.best`."""
        value, valid = self.value(history[epoch - 1]), _numbers(_stage(history[epoch - 1], VALID) or {})
        if self.metric is None or not is_number(value):
            return {"metric": None, "epoch": epoch, "valid": valid}
        if self.stage == VALID:
            return {"metric": self.metric, "epoch": epoch, "valid": {**valid, self.metric: value}}
        return {"metric": self.name, "epoch": epoch, "valid": valid, "value": value}


@dataclass(frozen=True)
class OwnRule(BestRule):
    """The rule of a solver that decides in each epoch whether its state is the best so far."""

    best_epoch: Optional[int] = None  # the last epoch that the solver called the best

    def epoch(self, history: Sequence[Any]) -> Optional[int]:
        """Return `best_epoch` if the history includes that epoch."""
        return self.best_epoch if self.best_epoch is not None and self.best_epoch <= len(history) else None


@dataclass(frozen=True)
class WatchedRule(BestRule):
    """A rule that claims no epoch if the training has last changed its best state in another one."""

    changed: Optional[int] = None  # the last epoch in which the best state changed
    epochs: int = 0  # number of epochs after which that was known

    def epoch(self, history: Sequence[Any]) -> Optional[int]:
        """Return the best epoch by the metric, unless the best state of this history is of another epoch."""
        found = super().epoch(history)
        return None if len(history) == self.epochs and self.changed not in (None, found) else found


def lowest_loss(history: Sequence[Any]) -> BestRule:
    """Return a rule by the first known loss, for a training whose own metric is unknown."""
    found = (BestRule(metric, is_audiocraft=False) for metric in LOSSES)
    return next((each for each in found if any(map(is_number, map(each.value, history)))), BestRule())


def metric_names(history: Sequence[Any]) -> list[str]:
    """Return the metrics of a history by the names that the option `metric` accepts, sorted."""
    stages = [(str(stage), metrics) for epoch in history if isinstance(epoch, dict)
              for stage, metrics in epoch.items() if isinstance(metrics, dict)]
    return sorted({_full_name(stage, name) for stage, metrics in stages for name in _numbers(metrics)})


def check_metric(metric: str, histories: Sequence[Sequence[Any]], others: Iterable[str] = ()) -> None:
    """Check that one of the histories has a metric, unless none has any.

    Args:
        metric: as the option `metric`.
        histories: the histories of the experiments.
        others: names that the hint offers besides those of the metrics.

    Raises:
        OptionError: with the closest name in its hint, or else with all names.
    """
    chosen = BestRule.parse(metric)
    names = sorted({name for history in histories for name in metric_names(history)})
    full = f"{VALID}.{chosen.name}"  # of a metric whose name has a dot
    if names and all(value is None for history in histories for value in chosen.values(history)):
        raise OptionError("invalid-option", f"no experiment has the metric {chosen.name!r}",
                          did_you_mean(full if full in names else str(chosen.name), [*names, *others]))


def durations(epoch: Any) -> list[float]:
    """Return the seconds of each stage of an epoch, as far as they are known."""
    stages = epoch.values() if isinstance(epoch, dict) else ()
    return [stage[DURATION] for stage in stages if isinstance(stage, dict) and is_number(stage.get(DURATION))]


def looks_like_score(metric: str) -> bool:
    """Return whether a value of the option `metric` has no direction, and names a score: the highest is best."""
    match = parse_metric(metric)
    return match["direction"] is None and bool(_SCORE.search(match["name"]))


def best_value(best: Mapping[str, Any]) -> Any:
    """Return the value of the metric in a `Manifest.best` that has a metric."""
    return best["value"] if "value" in best else best["valid"][best["metric"]]


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number; a bool is not."""
    if type(value) is float:  # the only type in most histories
        return -_LARGEST < value < _LARGEST
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def _full_name(stage: str, metric: str) -> str:
    """Return the name of a metric with its stage; without it if that is `valid` and the name has no dot itself."""
    return metric if stage == VALID and "." not in metric else f"{stage}.{metric}"


def _epoch_of_audiocraft(values: Sequence[Any], maximize: bool) -> Optional[int]:
    """Return the last epoch whose value equals the running minimum; None if the first value is NaN."""
    found: Optional[int] = None
    lowest: Any = None
    for index, value in enumerate(values, 1):
        if not isinstance(value, (int, float)):  # AudioCraft would have raised an error.
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
