"""`ExportMixin` gives a Flashy solver `export()`, and an export at the end of `run()`."""

import atexit
from argparse import Namespace
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, wraps
from typing import Any, Callable, ClassVar, Optional

from dora.log import simple_log
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..checkpoint.allowlist import UnknownGlobal
from ..checkpoint.checkpoint import open_checkpoint
from ..checkpoint.numpy_scalars import plain_numbers, to_number
from ..checkpoint.plain_config import to_plain
from ..errors import ExportError, OptionError
from ..experiment.config import Config, to_container
from ..experiment.xp import Experiment
from ..options import ExportOptions
from ..pipeline.export import export_experiment, export_state
from ..pipeline.preflight import check_before_training
from ..release.families.registry import selection_of
from ..release.metrics import OwnRule, Selection
from ..release.report import ExportReport
from .distributed import barrier_is_rank_zero, is_rank_zero
from .during_training import VERIFY_DURING_TRAINING, export_safely, is_due
from .entry import COMMIT, named_entry, public_methods
from .first_stage import check_first_stage
from .overrides import EXPORT, EXPORTER, exporter_values, with_absolute_paths
from .recovery import failure_after_training, fatal_errors

log = partial(simple_log, "Export:")
_unexported: dict[str, str] = {}  # by signature of the XP, what to say at the end of the process


class ExportMixin:
    """For a `flashy.BaseSolver`, in any place among its bases.

    When `run()` returns normally, the XP is exported if its configuration says `export: true`, with the options under
    `exporter`; for a configuration without that key, `auto_export` decides. (`with_export` gives every configuration
    that key.) With `exporter.when`, it is exported in training as well, after each `commit()` of a due epoch.

    A solver that trains in another method names it: `export_after = "train"`. Without that, the outermost public method
    that commits more than one epoch counts as one, too. If a main calls a method once per epoch, a warning at the end
    of the process says that its epochs were not exported.
    """

    auto_export: ClassVar[bool] = False
    export_after: ClassVar[Optional[str]] = None
    # From flashy.BaseSolver:
    xp: Any
    stateful: Any
    history: Any
    _export_best_epoch: Optional[int] = None  # by `is_best_so_far()` of the solver's own; None if that is not known
    _export_last_epoch: Optional[int] = None  # that this process has committed
    _export_commits: int = 0  # of the outermost method, since its last export
    _is_export_checked: bool = False  # `exporter`, before the training; once is enough

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in {*public_methods(cls), named_entry(cls) or COMMIT, COMMIT}:
            method = getattr(cls, name, None)
            if method is not None and not hasattr(method, "exports"):
                setattr(cls, name, _wrap_method(cls, name))

    def is_best_so_far(self) -> bool:
        """Whether the last committed epoch is the best one so far, for `exporter.when=best`.

        By `best_metric_name`, as AudioCraft's solvers have it (the lowest value is the best), or by AudioCraft's rule
        for its solvers. If none of them is known, each epoch is. A solver with another rule overrides this: it is
        called once after each `commit()`, and the last epoch for which it is true is that of the best state.
        `exporter.metric` has priority over both.
        """
        selection = self._named_selection(self._export_options().replace(metric=None))
        return is_due("best", plain_numbers(self.history), selection)

    def export(self, **options: Any) -> Optional[ExportReport]:
        """Export this experiment now, with options (those of `ExportOptions`) that override its configuration.

        The last stored checkpoint is exported; if the solver has epochs that are not stored (`save_last: false`), its
        present state. All ranks but zero do nothing, and get None.

        Raises:
            ExportError: if an option is wrong, the state cannot be released, or the release cannot be written.
        """
        chosen = self._export_options(**options)
        if not is_rank_zero():
            return None
        selection = self._selection(chosen)
        if chosen.checkpoint is None and not self._is_stored():
            report = export_state(self.stateful.sources, self.xp.cfg, self.xp.sig, self.xp.folder, chosen,
                                  selection=selection, is_unfinished=self._is_between_epochs())
        else:
            report = export_experiment(self._export_source, chosen, selection=selection)
        _unexported.pop(self.xp.sig, None)
        return report

    @property
    def _has_own_rule(self) -> bool:
        return type(self).is_best_so_far is not ExportMixin.is_best_so_far

    def _selection(self, options: ExportOptions) -> Optional[Selection]:
        """How this solver selects its best state; None if that is unknown."""
        if options.metric is None and self._has_own_rule:
            return OwnRule(best_epoch=self._export_best_epoch)
        return self._named_selection(options)

    def _named_selection(self, options: ExportOptions) -> Optional[Selection]:
        """The selection by the option `metric`, by `best_metric_name` or by the configuration."""
        if options.metric is None and hasattr(self, "best_metric_name"):
            rule = getattr(type(self), "update_best_state_from_stage", None)  # of AudioCraft's StandardSolver
            is_audiocraft = getattr(rule, "__module__", "").startswith("audiocraft.")
            name = self.best_metric_name
            return Selection(name, is_audiocraft=is_audiocraft) if name or is_audiocraft else None
        return selection_of(Config(to_plain(to_container(self.xp.cfg))), options.metric, options.family)

    def _is_between_epochs(self) -> bool:
        """Whether the present state may be another one than that after the last epoch."""
        is_in_stage = getattr(self, "_current_stage", None) is not None
        return is_in_stage or bool(getattr(self, "_pending_metrics", None)) \
            or self._export_last_epoch != len(self.history)

    def _ask_own_rule(self) -> bool:
        """Whether the last committed epoch is the best by the solver's own rule; remembers the best epoch."""
        before, self._export_best_epoch = self._export_best_epoch, None  # which is unknown if the rule fails
        is_best = self.is_best_so_far()
        is_kept = before is not None and before < len(self.history)  # and not one that was taken back
        self._export_best_epoch = len(self.history) if is_best else before if is_kept else None
        return is_best

    @property
    def _export_source(self) -> Experiment:
        return Experiment(self.xp.folder, self.xp.sig)

    def _is_stored(self) -> bool:
        """Whether `checkpoint.th` has all epochs of this solver; more than those if it was not restored yet."""
        path, history = self._export_source.checkpoint_path(), list(self.history)
        if not path.exists():
            return False
        stored = open_checkpoint(path).state.get("history")  # history.json may be newer than the checkpoint
        return _same_metrics(stored[:len(history)] if isinstance(stored, list) else [], history)

    def _export_around(self, name: str) -> AbstractContextManager[None]:
        """What is done around the outermost call of a method."""
        if name == COMMIT:
            return self._export_around_commit()
        if name == named_entry(type(self)):
            return self._export_around_entry()
        return nullcontext() if self.export_after or _running(self) else self._export_around_method()

    @contextmanager
    def _export_around_entry(self) -> Iterator[None]:
        """Around the method that trains, where its name is known."""
        self.xp.exports_itself = True  # EpochExporter leaves it alone
        with self._checked_training():
            yield
        if self._is_export_wanted() and barrier_is_rank_zero():
            self._export_after_training()

    def _checked_training(self) -> AbstractContextManager[None]:
        """Check what can be known of an export before its training and, inside, before its first stage."""
        if not self._is_export_wanted() or hasattr(self.xp, "export_keys"):  # with_export checks it
            return nullcontext()
        options = self._export_options()
        if not self._is_export_checked:
            self._is_export_checked = True
            check_before_training(self._export_source, self.xp.cfg, options)
        return check_first_stage(options)

    @contextmanager
    def _export_around_method(self) -> Iterator[None]:
        """Around a method that trains if it commits more than once; a main may call one that does so once per epoch."""
        self._export_commits = 0
        with self._checked_training() if hasattr(self, "xp") else nullcontext():  # not yet, in its `__init__`
            yield
        # No barrier: where only rank zero commits, the others do not know that this was a training.
        if self._export_commits > 1 and self._is_export_wanted() and is_rank_zero():
            self._export_after_training()

    @contextmanager
    def _export_around_commit(self) -> Iterator[None]:
        self.xp.exports_itself = True  # EpochExporter leaves it alone
        yield
        self._export_commits += 1
        self._export_last_epoch = len(self.history)
        if is_rank_zero():
            export_safely(self._export_if_due, log)

    def _export_after_training(self) -> None:
        self._export_commits = 0
        _unexported.pop(self.xp.sig, None)
        with fatal_errors(hasattr(self.xp, "export_keys")):
            try:
                report = self.export()
            except ExportError as exc:
                raise failure_after_training(exc, self._export_source, self._export_options()) from exc
        self.xp.export_report = report  # with_export sees that the release is made
        log(report)

    def _export_if_due(self) -> Optional[ExportReport]:
        is_best = self._ask_own_rule() if self._has_own_rule else None
        if not self._is_export_wanted():
            return None
        if not hasattr(self.xp, "export_keys"):  # with_export exports at the end in any case
            _unexported[self.xp.sig] = self._explain_unexported()
        options = self._export_options()
        if is_best is None or options.metric is not None or options.when != "best":
            due = is_due(options.when, plain_numbers(self.history), self._named_selection(options))
        else:
            due = is_best
        return self.export(checkpoint=None, verify=VERIFY_DURING_TRAINING) if due else None

    def _explain_unexported(self) -> str:
        """What to say at the end of the process if the epochs until now are not exported until then."""
        method, remedy = next(iter(_running(self)), None), "call its export() after the training"
        if self.export_after and self.export_after not in _running(self):
            remedy = f"correct its export_after, as {self.export_after}() was not called, or {remedy}"
        elif method not in (None, named_entry(type(self))):
            remedy = f'set export_after = "{method}" in it, or {remedy}'
        return (f"{type(self).__name__} committed epochs of XP {self.xp.sig} that were not exported although export is "
                f"on: {remedy}.")

    def _is_export_wanted(self) -> bool:
        wanted = self._export_key(EXPORT)
        return wanted if isinstance(wanted, bool) else self.auto_export

    def _export_options(self, **options: Any) -> ExportOptions:
        chosen = ExportOptions.from_mapping(exporter_values(self._export_key(EXPORTER))).replace(**options)
        return with_absolute_paths(chosen)

    def _export_key(self, key: str) -> Any:
        """What `with_export` has set aside for this XP, or what its configuration says."""
        return _get(getattr(self.xp, "export_keys", self.xp.cfg), key)


def _wrap_method(cls: type, name: str) -> Callable[..., Any]:
    """Wrap a method of a class, its own or an inherited one, in `_export_around`."""
    own = vars(cls).get(name)

    @wraps(own or getattr(cls, name))
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        # An inherited method is looked up in each call: which class is the next one depends on that of `self`.
        method = partial(own, self) if own else getattr(super(cls, self), name)
        running = _running(self)
        if name in running:  # a subclass called super()
            return method(*args, **kwargs)
        with self._export_around(name):
            running[name] = None
            try:
                return method(*args, **kwargs)
            except Exception:
                _unexported.clear()  # the error says why
                raise
            finally:
                running.pop(name, None)

    wrapper.exports = True  # type: ignore[attr-defined]
    return wrapper


@atexit.register
def _warn_of_unexported_epochs() -> None:
    for text in _unexported.values():
        log(text)


def _running(solver: Any) -> dict[str, None]:
    """The names of the wrapped methods of a solver that are running, the outermost first."""
    running: dict[str, None] = vars(solver).setdefault("_export_running", {})
    return running


def _same_metrics(stored: Any, present: Any) -> bool:
    """Whether metrics are equal, as far as they can be read: some are stored as unknown globals."""
    if isinstance(stored, UnknownGlobal):
        return True
    if isinstance(stored, dict) and isinstance(present, dict):
        return list(stored) == list(present) and all(_same_metrics(stored[name], present[name]) for name in stored)
    if isinstance(stored, list) and isinstance(present, (list, tuple)):
        return len(stored) == len(present) and all(map(_same_metrics, stored, present))
    return repr(stored) == repr(to_number(present))  # NaN does not equal itself


def _get(cfg: Any, key: str) -> Any:
    """The value of a key in an XP's configuration of any kind, resolved; None if it is absent."""
    if isinstance(cfg, Namespace):
        return getattr(cfg, key, None)
    if not isinstance(cfg, (DictConfig, dict)) or key not in cfg:
        return None
    try:
        return OmegaConf.to_container(cfg[key], resolve=True) if OmegaConf.is_config(cfg[key]) else cfg[key]
    except OmegaConfBaseException as exc:
        raise OptionError(f"{key} cannot be resolved ({type(exc).__name__}): write the value itself.") from exc
