"""Summarize an experiment from Dora's files and the manifest, without reading the pickle of a checkpoint."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Optional

from ..errors import coded_warning, without_credentials
from ..experiment.config import Config
from ..experiment.xp import (
    ARGV,
    CHECKPOINT_FILE,
    CHECKPOINT_NAME,
    HISTORY,
    HYDRA_CONFIG,
    HYDRA_SETTINGS,
    Experiment,
    is_denied,
    read_small_text,
    solver_in,
)
from ..options import RELEASE_FOLDER
from ..release.families.registry import best_rule
from ..release.metrics import BestRule, best_value, is_number, lowest_loss
from ..release.status import MISSING, UNREADABLE, ReleaseStatus, release_status
from .short_names import YamlKeys

# Regular expressions, because parsing the YAML of all configurations would take most of the time of `list`.
# They begin with a line break, because searching for `^` is slow.
_KEY = re.compile(r"\n(\w+):")
_EPOCHS = re.compile(r"\n(?:optim:[ ]*\n(?=([ ]+))(?:[ ]+\S.*\n)*?\1)?epochs:[ ]*(\d{1,12})[ ]*$", re.MULTILINE)


@dataclass(frozen=True)
class XPSummary:
    """Facts about an experiment that need no checkpoint; the fields are the keys of `schema.json`."""

    target: str  # the name of its folder
    sig: str  # the same
    solver: Optional[str]  # name of the solver in .hydra/config.yaml
    xp: str  # path of the XP folder
    overrides: Optional[list[str]]  # from .argv.json
    epochs: Optional[int]  # number of finished epochs, None if history.json does not give it
    planned_epochs: Optional[int]  # number of epochs in the configuration
    metric: Optional[str]  # the validation metric that selects the best state, or a loss if that is unknown
    best: Optional[float]  # best value of that metric
    best_epoch: Optional[int]  # epoch of that value; the epoch of a release is in its manifest
    last: Optional[float]  # value of that metric in the last epoch that has it, None if it is not finite
    changed: float  # mtime of the last checkpoint, or else of the XP folder, in seconds since the epoch
    checkpoint: Optional[str]  # path of checkpoint.th, None if missing
    checkpoint_bytes: Optional[int]
    other_checkpoints: int  # number of checkpoint_NAME.th
    folder: str  # path of the release folder
    state: Optional[str]  # state of the release; None if it cannot be read
    options: Mapping[str, Any]  # options of an up-to-date release that differ from the defaults
    bytes: Optional[int]  # size of the release in the manifest
    nonfinite: Optional[int]  # number of NaN and infinite values in the manifest
    warnings: list[str]  # coded warnings about what cannot be read
    keys: YamlKeys = field(repr=False)  # the configuration keys, for `short_names`

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "keys"}


def summarize_xp(xp: Experiment, metric: Optional[str] = None) -> XPSummary:
    """Summarize an experiment in any state: a file that cannot be read counts as missing.

    Args:
        metric: as the option `metric`; its best value is shown.
    """
    folder = str(xp.folder.absolute())
    config = read_small_text(os.path.join(folder, HYDRA_CONFIG), "replace")
    argv, history = xp.argv, xp.history
    solver, top_keys = solver_in(config), tuple(_KEY.findall(f"\n{config}"))
    if solver and "$" in solver:
        rule = best_rule(_without_values(top_keys, solver).with_choices(xp.folder / HYDRA_SETTINGS), metric)
    else:
        rule = _best_rule(top_keys, solver, metric)
    rule = rule or lowest_loss(history)
    checkpoints = _checkpoints(folder)
    stored = checkpoints.get(CHECKPOINT_FILE)
    path = os.path.join(folder, CHECKPOINT_FILE)
    release = release_status(xp.folder / RELEASE_FOLDER, xp.folder, opens=False)
    warnings = [*_unreadable(xp, argv, stored, release), *broken_history(xp, history)]
    is_stored = bool(checkpoints) or release.state != MISSING
    return XPSummary(
        target=xp.sig or xp.folder.name, sig=xp.sig or xp.folder.name, solver=solver, xp=folder,
        overrides=None if argv is None else [without_credentials(str(arg)) for arg in argv],
        epochs=epochs_done(xp, history, is_stored or bool(warnings)), planned_epochs=planned_epochs(config),
        **metric_values(rule.best(history), last_value(rule, history)),
        changed=_changed(xp.folder, checkpoints),
        checkpoint=path if stored or os.path.lexists(path) else None,
        checkpoint_bytes=stored.st_size if stored else None, other_checkpoints=len(checkpoints) - (stored is not None),
        folder=os.path.join(folder, RELEASE_FOLDER), state=release.key, options=release.options,
        bytes=release.manifest.nbytes if release.manifest else None, nonfinite=release.nonfinite,
        warnings=warnings, keys=YamlKeys(config))


@cache
def _best_rule(keys: tuple[str, ...], solver: Optional[str], metric: Optional[str]) -> Optional[BestRule]:
    """Return how experiments with these keys and this solver select the best state; cached, because many are alike."""
    return best_rule(_without_values(keys, solver), metric)


def _without_values(keys: tuple[str, ...], solver: Optional[str]) -> Config:
    """Return a configuration with the top-level keys of another one, without their values."""
    return Config({**dict.fromkeys(keys), "solver": solver})


def metric_values(best: Optional[Mapping[str, Any]], last: Optional[float] = None) -> dict[str, Any]:
    """Return the values of `metric`, `best`, `best_epoch` and `last` in `schema.json`.

    Args:
        best: the metrics of the best epoch, as `BestRule.describe`.
        last: the value of the metric in the last epoch.
    """
    if not best or best.get("metric") is None:
        return dict.fromkeys(("metric", "best", "best_epoch", "last"))
    return {"metric": best["metric"], "best": best_value(best), "best_epoch": best["epoch"], "last": last}


def last_value(rule: BestRule, history: Sequence[Any]) -> Optional[float]:
    """Return the value of the metric in the last epoch that has it; None if it is not finite."""
    last = next((value for value in map(rule.value, reversed(history)) if value is not None), None)
    return last if is_number(last) else None


def planned_epochs(config: str) -> Optional[int]:
    """Return the number of epochs in the YAML of a configuration."""
    found = _EPOCHS.search(f"\n{config}")
    return int(found.group(2)) if found else None


def epochs_done(xp: Experiment, history: Sequence[Any], is_stored: bool) -> Optional[int]:
    """Return the number of finished epochs in Dora's history.

    Args:
        xp: the experiment.
        history: its history, empty if it cannot be read.
        is_stored: whether the experiment has a checkpoint or a release.

    Returns:
        None if the history is corrupted, or empty although `is_stored`.
    """
    return len(history) or (None if is_stored or xp.is_history_broken else 0)


def broken_history(xp: Experiment, history: Sequence[Any]) -> Iterator[str]:
    """Yield a coded warning if the history of an experiment is empty because it cannot be read."""
    if history:
        return
    if is_denied(xp.folder / HISTORY):
        yield coded_warning("unreadable-experiment", f"cannot read {HISTORY}: permission denied")
    elif xp.is_history_broken:
        yield coded_warning("corrupted-history", f"{HISTORY} is corrupted, and was ignored")


def _unreadable(xp: Experiment, argv: Optional[Sequence[str]], stored: Optional[os.stat_result],
                release: ReleaseStatus) -> Iterator[str]:
    """Yield coded warnings about a folder, a checkpoint and a release that cannot be used."""
    path = os.path.join(xp.folder, CHECKPOINT_FILE)
    if not os.access(xp.folder, os.R_OK | os.X_OK) and os.path.isdir(xp.folder):
        yield coded_warning("unreadable-experiment", "cannot read the XP folder: permission denied")
        return
    if stored is None and os.path.lexists(path):
        what = "a dangling symlink" if os.path.islink(path) else "not a regular file"
        yield coded_warning("unusable-checkpoint", f"{CHECKPOINT_FILE} is {what}")
    if stored is not None and not stored.st_size:
        yield coded_warning("unusable-checkpoint", f"{CHECKPOINT_FILE} is empty")
    if stored is not None and is_denied(path):
        yield coded_warning("unusable-checkpoint", f"cannot read {CHECKPOINT_FILE}: permission denied")
    if argv is None and is_denied(xp.folder / ARGV):
        yield coded_warning("unreadable-experiment", f"cannot read {ARGV}: permission denied")
    elif argv is None and os.path.lexists(xp.folder / ARGV):
        yield coded_warning("corrupted-overrides", f"{ARGV} is corrupted, and was ignored")
    if release.state == UNREADABLE:
        yield coded_warning("unreadable-experiment", f"cannot read the release in {RELEASE_FOLDER}: permission denied")


def _changed(folder: Path, checkpoints: Mapping[str, os.stat_result]) -> float:
    times = [file.st_mtime for file in checkpoints.values()]
    with suppress(OSError):
        return max(times, default=0.) or os.stat(folder).st_mtime
    return 0.


def _checkpoints(folder: str) -> dict[str, os.stat_result]:
    found = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in filter(lambda entry: CHECKPOINT_NAME.fullmatch(entry.name), entries):
            with suppress(OSError):
                if entry.is_file():
                    found[entry.name] = entry.stat()
    return found
