"""Exports while a training goes on: after which epochs, of what, and that none of them ends it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, Callable, Optional, Union

from .checkpoint import open_experiment
from .errors import ExportError
from .experiment import LAST, Experiment
from .export import export
from .families import family_of
from .options import ExportOptions
from .ranks import is_rank_zero
from .release import RELEASE_FOLDER, ExportReport, best_epoch
from .survey import release_of

VERIFY = "none"  # a training waits for the copy, and no more; the export at its end is read back
UPDATES = ("update_history", "push_metrics")  # of `dora.link.Link`: an epoch is finished


def is_due(when: Union[str, int], history: Sequence[Any], metrics: Sequence[str]) -> bool:
    """Whether the last epoch is one after which is exported.

    Args:
        when: `end`, `best`, or every so many epochs.
        history: the metrics by stage, one entry an epoch.
        metrics: names in the `valid` stage, by the first of which that is there an epoch is better than another. Where
            there is none, each epoch with that stage is the best so far, as in AudioCraft's `StandardSolver`; without
            the stage, each epoch.
    """
    if when == "best":
        best = best_epoch(history, metrics)
        return best is None or best["epoch"] == len(history)
    return isinstance(when, int) and len(history) % when == 0


def outcome(make: Callable[[], Optional[ExportReport]]) -> Optional[str]:
    """Export, and say what came of it, if anything was to be done: whatever goes wrong, the training goes on."""
    try:
        report = make()
        return str(report) if report else None
    except ExportError as exc:
        return f"nothing is exported after this epoch, and the training goes on: {exc}"
    except Exception as exc:  # a mistake of ours must not cost a training
        return (f"nothing is exported after this epoch, and the training goes on: an unexpected {type(exc).__name__} "
                f"({exc}); please report it.")


def follow(xp: Any, options: ExportOptions, log: Callable[[str], None]) -> None:
    """From now on, export what an XP has stored whenever its training tells Dora of a finished epoch, if it is due.

    Every training of Dora gives that sign, and no class of its own is touched for it. AudioCraft gives it once the
    checkpoint of the epoch is stored; Flashy's own `commit` just before, so that there an epoch is exported when the
    next one is finished.

    Args:
        xp: Dora's XP.
        options: how.
        log: takes what came of each export.
    """
    def following(update: Callable[..., None]) -> Callable[..., None]:
        @wraps(update)
        def updated(*args: Any, **kwargs: Any) -> None:
            update(*args, **kwargs)
            said = outcome(partial(_export_stored, xp, options)) if is_rank_zero() else None
            if said:
                log(said)
        return updated

    for name in UPDATES:
        setattr(xp.link, name, following(getattr(xp.link, name)))


def _export_stored(xp: Any, options: ExportOptions) -> Optional[ExportReport]:
    """Export `checkpoint.th` if its epoch is due, and no release of it is there."""
    stored, folder = Experiment(xp.folder, xp.sig), Path(options.folder or xp.folder / RELEASE_FOLDER)
    exports_itself = getattr(xp, "exports_itself", False)  # ExportMixin does
    if exports_itself or not os.path.isfile(stored.path_of()) or release_of(folder, xp.folder, LAST)[0] == "fresh":
        return None
    checkpoint = open_experiment(stored, stored.path_of())
    epochs = list(xp.link.history)[:len(checkpoint.history)]
    if not epochs or not is_due(options.when, epochs, family_of(checkpoint.config).metrics):
        return None
    return export(checkpoint, xp.folder, folder, options.replace(verify=VERIFY))
