"""An experiment at a glance: what Dora's files and the manifest say of it; no checkpoint is opened."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..errors import without_credentials
from ..experiment.config import Config
from ..experiment.xp import (
    CHECKPOINT_FILE,
    CHECKPOINT_NAME,
    HYDRA_CONFIG,
    HYDRA_SETTINGS,
    Experiment,
    read_small_text,
)
from ..options import RELEASE_FOLDER
from ..release.families.registry import selection_of
from ..release.metrics import Selection, is_number, value_of
from ..release.status import NONE, release_status

# Parsing the YAML of one configuration takes as long as all else of twenty experiments.
_SOLVER = re.compile(r"^solver:[ ]*['\"]?([^\s'\"#]+)", re.MULTILINE)
LOSSES = ("ce", "loss")  # of which the lowest is shown of a training whose own metric is unknown
_KEY = re.compile(r"^(\w+):", re.MULTILINE)
_EPOCHS = re.compile(r"^(?:optim:[ ]*\n(?=([ ]+))(?:[ ]+\S.*\n)*?\1)?epochs:[ ]*(\d{1,12})[ ]*$", re.MULTILINE)


@dataclass(frozen=True)
class XPSummary:
    """What is known of an experiment without opening its checkpoint; its fields are the keys of the JSON output."""

    sig: str  # the name of its folder
    solver: Optional[str]  # of its configuration, if Hydra has stored one
    argv: Optional[list[str]]  # its command line, if Dora has stored one
    epochs: Optional[int]  # how many are done, None if history.json does not say it
    planned: Optional[int]  # how many its configuration asks for
    metric: Optional[str]  # the validation metric that selects the best state, or a loss if that is unknown
    best: Optional[float]  # value of that metric
    best_epoch: Optional[int]  # which has that value: not that of a release, see its manifest for that
    checkpoint: Optional[int]  # bytes of checkpoint.th, None where there is none
    others: int  # how many checkpoint_NAME.th there are
    release: str  # none, up to date, stale (the checkpoint has another size or time) or damaged
    release_options: Mapping[str, Any]  # of an up-to-date release: those that are not the default ones
    release_bytes: Optional[int]  # by the manifest
    nonfinite: Optional[int]  # how many of its values are NaN or infinite, by the manifest
    changed: float  # when its last checkpoint was written, or its folder if there is none, in seconds since 1970


def summarize_xp(xp: Experiment, metric: Optional[str] = None) -> XPSummary:
    """Summarize an experiment in any state: a file that cannot be read counts as missing.

    Args:
        metric: as the option `metric`: whose best value is shown.
    """
    config, argv, history = read_small_text(xp.folder / HYDRA_CONFIG, "replace"), xp.argv, xp.history
    solver, epochs = _SOLVER.search(config), _EPOCHS.search(config)
    name = solver.group(1) if solver else None
    outline = Config({**dict.fromkeys(_KEY.findall(config)), "solver": name}).with_choices(xp.folder / HYDRA_SETTINGS)
    selection = selection_of(outline, metric) or lowest_loss(history)
    best = selection.best(history) or {}
    metric = best.get("metric")
    checkpoints = _checkpoints(xp.folder)
    last = checkpoints.get(CHECKPOINT_FILE)
    changed = max((file.st_mtime for file in checkpoints.values()), default=0.)
    with suppress(OSError):
        changed = changed or os.stat(xp.folder).st_mtime
    release = release_status(xp.folder / RELEASE_FOLDER, xp.folder, opens=False)
    return XPSummary(
        sig=xp.sig or xp.folder.name, solver=name,
        argv=None if argv is None else [without_credentials(str(arg)) for arg in argv],
        epochs=epochs_done(xp, history, bool(checkpoints) or release.state != NONE),
        planned=int(epochs.group(2)) if epochs else None,
        metric=metric, best=value_of(best) if metric else None, best_epoch=best["epoch"] if metric else None,
        checkpoint=last.st_size if last else None, others=len(checkpoints) - (last is not None),
        release=release.state, release_options=release.options,
        release_bytes=release.manifest.nbytes if release.manifest else None,
        nonfinite=release.nonfinite, changed=changed)


def epochs_done(xp: Experiment, history: Sequence[Any], is_stored: bool) -> Optional[int]:
    """How many epochs are done, by Dora's history; None if that is broken, or empty although something `is_stored`."""
    return len(history) or (None if is_stored or xp.is_history_broken else 0)


def lowest_loss(history: Sequence[Any]) -> Selection:
    """What to show of a training that selects its best state in an unknown way: the first loss that any epoch has."""
    found = (Selection(metric, is_audiocraft=False) for metric in LOSSES)
    return next((each for each in found if any(map(is_number, each.values(history)))), Selection())


def short_names(argvs: Sequence[Sequence[str]]) -> list[str]:
    """What distinguishes command lines: without the overrides that all have, the rarest first, in case it is cut.

    Keys are as short as they are unique, as Dora names the experiments of a grid (`dora.names.NamesMixin.get_names`).
    Empty lines do not count.
    """
    counts, lines = Counter(arg for argv in argvs for arg in {*argv}), sum(map(bool, argvs))
    common = {arg for arg, count in counts.items() if count == lines > 1}
    keys = {arg.partition("=")[0].lstrip("+~") for arg in counts}
    users = Counter(key.rpartition(".")[2] for key in keys)  # how many keys end with this part

    def shorten(arg: str) -> str:
        key, equal, value = arg.partition("=")
        last_part = key.rpartition(".")[2]
        return f"{last_part if users[last_part.lstrip('+~')] == 1 else key}{equal}{value}"
    return [" ".join(shorten(arg) for arg in sorted(argv, key=counts.__getitem__) if arg not in common)
            for argv in argvs]


def _checkpoints(folder: Path) -> dict[str, os.stat_result]:
    found = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if CHECKPOINT_NAME.fullmatch(entry.name) and entry.is_file():
                    found[entry.name] = entry.stat()
    return found
