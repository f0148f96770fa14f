"""Export during a training (`exporter.when`); a failure never stops the training."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Callable, Optional, Union

from dora.link import Link

from ..checkpoint.checkpoint import Checkpoint, open_checkpoint
from ..checkpoint.numpy_scalars import plain_numbers
from ..errors import ExportError, coded_warning, listing, show_warning, unexpected_error
from ..experiment.xp import CHECKPOINT_FILE, Experiment
from ..options import ExportOptions
from ..pipeline.export import export
from ..pipeline.previous_scrub import keep_scrub
from ..release.families.registry import best_rule
from ..release.metrics import BestRule, is_number, metric_names
from ..release.report import ExportReport
from ..storage.file_version import file_version
from .messages import log_error
from .xp_state import xp_state

VERIFY_DURING_TRAINING = "none"  # the training waits for each export, so only the last one is read back


def is_due(when: Union[str, int], history: Sequence[Any], rule: Optional[BestRule] = None) -> bool:
    """Return whether the last epoch of a history is due for an export.

    Args:
        when: `exporter.when`.
        history: the metrics of all epochs.
        rule: decides which epoch is the best. If no epoch has its metric, each epoch that has its stage counts
            as the best so far, as in AudioCraft's `StandardSolver`. If no epoch has the stage, or with None, every
            epoch counts as the best so far.
    """
    if when == "best":
        best = rule.best(history) if rule else None
        return best is None or best["epoch"] == len(history)
    return when != "end" and len(history) % int(when) == 0


def explain_unknown_best(when: Union[str, int], history: Sequence[Any], rule: Optional[BestRule]) -> Optional[str]:
    """Return the warning that `exporter.when=best` exports every epoch; None if a metric decides.

    Args:
        when, history, rule: as for `is_due`.
    """
    if when != "best" or rule and (rule.metric is None or any(map(is_number, rule.values(history)))):
        return None
    why = f"no epoch has the metric {rule.name} yet" if rule else "the metric of the best state is unknown"
    return coded_warning("unknown-best", f"exporter.when=best exports each epoch: {why}. exporter.metric can be one "
                         f"of: {listing(metric_names(history)) or 'none'}")


def export_safely(export_if_due: Callable[[], Optional[ExportReport]], log: Callable[[str], None]) -> None:
    """Export if an epoch is due, and log the result; errors are logged, except those that signal handlers raise."""
    with _propagate_handler_errors():
        try:
            report = export_if_due()
        except ExportError as exc:
            _log_failure(exc, log)
        except Exception as exc:  # a bug in an export must not end a training
            _log_failure(unexpected_error(exc, "please report it"), log)
        else:
            if report is not None:
                log(str(report))


def _log_failure(error: ExportError, log: Callable[[str], None]) -> None:
    log("the export after this epoch failed; the training continues")
    log_error(error, log)


class _HandlerError(BaseException):
    """Carries the exception of a signal handler through `except Exception`."""


@contextmanager
def _propagate_handler_errors() -> Iterator[None]:
    """Let exceptions raised by signal handlers pass through `except Exception` inside this context.

    For example, the signal handler of submitit raises an exception at the time limit of a job that is not requeued.
    """
    is_main = threading.current_thread() is threading.main_thread()
    originals = {number: signal.getsignal(number) for number in (signal.valid_signals() if is_main else ())}
    inside: list[bool] = []  # not an Event, whose lock a handler that raises would keep; empty outside of the context
    wrapped = {number: partial(_call_handler, handler, inside)
               for number, handler in originals.items() if callable(handler)}
    for number, handler in wrapped.items():
        signal.signal(number, handler)
    try:
        try:
            inside.append(True)
            yield
        finally:
            inside.clear()
    except _HandlerError as raised:
        raise raised.args[0] from None
    finally:
        for number, handler in wrapped.items():
            if signal.getsignal(number) is handler:  # otherwise it was replaced meanwhile
                signal.signal(number, originals[number])


def _call_handler(handler: Callable[[int, Any], Any], inside: list[bool], number: int, frame: Any) -> None:
    try:
        handler(number, frame)
    except Exception as exc:
        if not inside:
            raise
        raise _HandlerError(exc) from exc


class ObservedLink(Link):
    """Dora's link to an XP that also calls an observer after each epoch; its copies are plain `Link` objects."""

    def __init__(self, link: Link, observer: Callable[[], None]) -> None:
        vars(self).update(vars(link))
        self.observer = observer

    def update_history(self, history: list[dict[str, Any]]) -> None:
        """Store the metrics of all epochs."""
        super().update_history(history)
        self.observer()

    def push_metrics(self, metrics: dict[str, Any]) -> None:
        """Store the metrics of one more epoch."""
        super().push_metrics(metrics)
        self.observer()

    def __reduce__(self) -> Any:
        return Link, (), {name: value for name, value in vars(self).items() if name != "observer"}


class EpochExporter:
    """Export the checkpoint of an XP after each epoch that is due.

    It observes the XP's link to Dora, which every training calls, so that solvers need no change. AudioCraft calls the
    link after it has stored the checkpoint of the epoch. Flashy's `commit` calls the link before it stores the
    checkpoint, so an epoch is exported when the next epoch is finished.

    Args:
        xp: Dora's XP; its `link` is replaced.
        options: how to export.
        log: writes one line.
    """

    def __init__(self, xp: Any, options: ExportOptions, log: Callable[[str], None]) -> None:
        self._xp, self._options, self._log = xp, options, log
        self._experiment = Experiment(xp.folder, xp.sig)
        self._path = self._experiment.checkpoint_path()
        self._version, self._epochs, self._has_warned = file_version(self._path), 0, False
        if self._version is not None:
            with suppress(Exception):  # errors are logged when the checkpoint is opened again after an epoch
                self._epochs = len(open_checkpoint(self._path).history)
        xp.link = ObservedLink(xp.link, self)

    def __call__(self) -> None:
        """Export if an epoch is due, unless the solver does so itself (ExportMixin)."""
        if not xp_state(self._xp).is_exported_by_solver:
            export_safely(self._export_if_due, self._log)

    def _export_if_due(self) -> Optional[ExportReport]:
        version = file_version(self._path)
        if version is None and not self._has_warned and len(self._xp.link.history) > 1:
            self._has_warned = True
            self._log(show_warning(coded_warning(
                "epochs-not-exported", f"nothing is exported before {CHECKPOINT_FILE} is stored. If the solver stores "
                "no checkpoint, let it inherit from ExportMixin for exporter.when")))
        if version in (None, self._version):
            return None
        self._version = version
        checkpoint = open_checkpoint(self._path)
        checkpoint.check_experiment(self._experiment)
        if not self._has_due_epoch(checkpoint):
            return None
        folder = self._options.release_folder(self._xp.folder)
        options = keep_scrub(folder, self._options.replace(verify=VERIFY_DURING_TRAINING))
        return export(checkpoint, self._xp.folder, folder, options)

    def _has_due_epoch(self, checkpoint: Checkpoint) -> bool:
        """Return whether any epoch since the last checkpoint is due, because a training may not store every epoch."""
        history = plain_numbers(self._xp.link.history)[:len(checkpoint.history) or None]
        rule = best_rule(checkpoint.config, self._options.metric, self._options.family)
        if not self._epochs and (warning := explain_unknown_best(self._options.when, history, rule)):
            self._log(show_warning(warning))
        new_epochs = range(self._epochs + 1, len(history) + 1)
        self._epochs = len(history)
        return any(is_due(self._options.when, history[:epoch], rule) for epoch in new_epochs)
