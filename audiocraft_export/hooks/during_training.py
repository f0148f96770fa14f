"""Exports while a training goes on: after which epochs, of what, and that none of them ends it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Callable, Optional, Union

from dora.link import Link

from ..checkpoint.checkpoint import open_checkpoint
from ..errors import ExportError
from ..experiment.xp import CHECKPOINT_FILE, Experiment
from ..options import ExportOptions
from ..pipeline.export import export
from ..release.families.registry import family_of
from ..release.metrics import best_epoch
from ..release.report import ExportReport
from ..signals import propagate_handler_errors
from ..storage.file_version import file_version

VERIFY = "none"  # a training waits for the copy, and no more; the export at its end is read back


def is_due(when: Union[str, int], history: Sequence[Any], metrics: Sequence[str]) -> bool:
    """Whether to export after the last epoch.

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
    return when != "end" and len(history) % int(when) == 0


@propagate_handler_errors()
def export_safely(make: Callable[[], Optional[ExportReport]], log: Callable[[str], None]) -> None:
    """Export, and say what came of it: whatever goes wrong, the training goes on, unless a signal ends it.

    Args:
        make: exports, if that is due.
        log: takes a sentence, if anything was to be done.
    """
    try:
        report = make()
    except ExportError as exc:
        log(f"the export after this epoch failed, and the training goes on: {exc}")
    except Exception as exc:  # a mistake of ours must not cost a training
        log(f"the export after this epoch failed, and the training goes on: an unexpected {type(exc).__name__} "
            f"({exc}); please report it.")
    else:
        if report is not None:
            log(str(report))


class ObservedLink(Link):
    """Dora's link, by which a training says that an epoch is finished; a copy of it is as Dora's own.

    Args:
        link: Dora's own, whose place it takes.
        follower: is called whenever an epoch is finished.
    """

    def __init__(self, link: Link, follower: Callable[[], None]) -> None:
        vars(self).update(vars(link))
        self.follower = follower

    def update_history(self, history: list[dict[str, Any]]) -> None:
        """Store the metrics of all epochs."""
        super().update_history(history)
        self.follower()

    def push_metrics(self, metrics: dict[str, Any]) -> None:
        """Store the metrics of one epoch more."""
        super().push_metrics(metrics)
        self.follower()

    def __reduce__(self) -> Any:
        return Link, (), {name: value for name, value in vars(self).items() if name != "follower"}


class EpochExporter:
    """Exports what an XP has stored whenever its training tells Dora of a finished epoch, if one is due.

    Every training of Dora gives that sign, and no class of its own is touched for it. AudioCraft gives it once the
    checkpoint of the epoch is stored; Flashy's own `commit` just before, so that there an epoch is exported when the
    next one is finished.

    Args:
        xp: Dora's XP.
        options: how.
        log: takes what came of each export.
    """

    def __init__(self, xp: Any, options: ExportOptions, log: Callable[[str], None]) -> None:
        self._xp, self._options, self._log = xp, options, log
        self._stored = Experiment(xp.folder, xp.sig)
        self._seen, self._epochs, self._waits = file_version(self._stored.checkpoint_path()), 0, False
        if self._seen is not None:
            with suppress(Exception):  # it is looked at again, and guarded, when an epoch is finished
                self._epochs = len(open_checkpoint(self._stored.checkpoint_path()).history)
        xp.link = ObservedLink(xp.link, self)

    def __call__(self) -> None:
        """An epoch is finished."""
        if not getattr(self._xp, "exports_itself", False):  # ExportMixin does
            export_safely(self._export_if_due, self._log)

    def _export_if_due(self) -> Optional[ExportReport]:
        stored = file_version(self._stored.checkpoint_path())
        if stored is None:
            self._wait()
        if stored in (None, self._seen):
            return None
        self._seen = stored
        checkpoint = open_checkpoint(self._stored.checkpoint_path())
        checkpoint.check_experiment(self._stored)
        history = list(self._xp.link.history)[:len(checkpoint.history) or None]
        metrics, new = family_of(checkpoint.config).metrics, range(self._epochs + 1, len(history) + 1)
        self._epochs = len(history)
        if not any(is_due(self._options.when, history[:epoch], metrics) for epoch in new):
            return None
        return export(checkpoint, self._xp.folder, self._options.release_folder(self._xp.folder),
                      self._options.replace(verify=VERIFY))

    def _wait(self) -> None:
        if not self._waits and len(self._xp.link.history) > 1:
            self._waits = True
            self._log(f"nothing is exported before {CHECKPOINT_FILE} is stored: a solver that stores none needs ExportMixin for "
                      "exporter.when.")
