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
from ..errors import ExportError
from ..experiment.xp import CHECKPOINT_FILE, Experiment
from ..options import ExportOptions
from ..pipeline.export import export
from ..release.families.registry import selection_of
from ..release.metrics import Selection
from ..release.report import ExportReport
from ..storage.file_version import file_version

VERIFY_DURING_TRAINING = "none"  # a training waits for the copy only; the export at its end is read back


def is_due(when: Union[str, int], history: Sequence[Any], selection: Optional[Selection] = None) -> bool:
    """Whether to export after the last epoch of a history.

    The metric of the selection decides which epoch is best. If no epoch has it, each epoch with its stage is the best
    so far, as in AudioCraft's `StandardSolver`; without that stage, or if the selection is unknown, each epoch.
    """
    if when == "best":
        best = selection.best(history) if selection else None
        return best is None or best["epoch"] == len(history)
    return when != "end" and len(history) % int(when) == 0


def export_safely(export_if_due: Callable[[], Optional[ExportReport]], log: Callable[[str], None]) -> None:
    """Export, if that is due, and log the result; no error but that of a signal handler ends the training."""
    with _propagate_handler_errors():
        try:
            report = export_if_due()
        except ExportError as exc:
            log(f"the export after this epoch failed, and the training goes on: {exc}")
        except Exception as exc:  # a mistake of ours must not cost a training
            log(f"the export after this epoch failed, and the training goes on: an unexpected {type(exc).__name__} "
                f"({exc}); please report it.")
        else:
            if report is not None:
                log(str(report))


class _HandlerError(BaseException):
    pass


@contextmanager
def _propagate_handler_errors() -> Iterator[None]:
    """While inside, let exceptions that signal handlers raise pass through `except Exception`.

    A scheduler may end a job so: submitit raises, when the time is up and the job is not to be requeued.
    """
    is_main = threading.current_thread() is threading.main_thread()
    theirs = {number: signal.getsignal(number) for number in (signal.valid_signals() if is_main else ())}
    ours = {number: partial(_call_handler, handler) for number, handler in theirs.items() if callable(handler)}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield
    except _HandlerError as raised:
        raise raised.args[0] from None
    finally:
        for number, handler in ours.items():
            if signal.getsignal(number) is handler:  # nobody has replaced it since
                signal.signal(number, theirs[number])


def _call_handler(handler: Callable[[int, Any], Any], number: int, frame: Any) -> None:
    try:
        handler(number, frame)
    except Exception as exc:
        raise _HandlerError(exc) from exc


class ObservedLink(Link):
    """Dora's link to an XP, which also calls an observer after each epoch; a copy of it is a plain `Link`."""

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

    It observes the XP's link to Dora, which any training calls, and needs no change to the training's own classes.
    AudioCraft calls it once the checkpoint of the epoch is stored; Flashy's own `commit` just before, so that an epoch
    is exported when the next one is finished.
    """

    def __init__(self, xp: Any, options: ExportOptions, log: Callable[[str], None]) -> None:
        self._xp, self._options, self._log = xp, options, log
        self._experiment = Experiment(xp.folder, xp.sig)
        self._path = self._experiment.checkpoint_path()
        self._version, self._epochs, self._has_warned = file_version(self._path), 0, False
        if self._version is not None:
            with suppress(Exception):  # it is opened again after an epoch, and errors are logged there
                self._epochs = len(open_checkpoint(self._path).history)
        xp.link = ObservedLink(xp.link, self)

    def __call__(self) -> None:
        """Export after an epoch, unless ExportMixin does."""
        if not getattr(self._xp, "exports_itself", False):
            export_safely(self._export_if_due, self._log)

    def _export_if_due(self) -> Optional[ExportReport]:
        version = file_version(self._path)
        if version is None and not self._has_warned and len(self._xp.link.history) > 1:
            self._has_warned = True
            self._log(f"nothing is exported before {CHECKPOINT_FILE} is stored: a solver that stores none needs "
                      "ExportMixin for exporter.when.")
        if version in (None, self._version):
            return None
        self._version = version
        checkpoint = open_checkpoint(self._path)
        checkpoint.check_experiment(self._experiment)
        if not self._has_due_epoch(checkpoint):
            return None
        return export(checkpoint, self._xp.folder, self._options.release_folder(self._xp.folder),
                      self._options.replace(verify=VERIFY_DURING_TRAINING))

    def _has_due_epoch(self, checkpoint: Checkpoint) -> bool:
        """Whether any epoch since the last checkpoint is due; a training may store only some."""
        history = plain_numbers(self._xp.link.history)[:len(checkpoint.history) or None]
        selection = selection_of(checkpoint.config, self._options.metric, self._options.family)
        new_epochs = range(self._epochs + 1, len(history) + 1)
        self._epochs = len(history)
        return any(is_due(self._options.when, history[:epoch], selection) for epoch in new_epochs)
