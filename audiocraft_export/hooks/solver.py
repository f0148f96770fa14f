"""`ExportMixin` gives a Flashy solver `export()`, and an export at the end of `run()`."""

import atexit
from argparse import Namespace
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
from ..release.metrics import Selection, ToldEpoch, UnfinishedEpoch
from ..release.report import ExportReport
from .distributed import barrier_is_rank_zero, is_rank_zero
from .during_training import VERIFY_DURING_TRAINING, export_safely, is_due
from .entry import COMMIT, named_entry, public_methods
from .overrides import EXPORT, EXPORTER, exporter_values, with_absolute_paths
from .recovery import failure_after_training

log = partial(simple_log, "Export:")


class ExportMixin:
    """For a `flashy.BaseSolver`, in any place among its bases.

    When `run()` returns normally, the XP is exported if its configuration says `export: true`, with the options under
    `exporter`; for a configuration without that key, `auto_export` decides. (`with_export` gives every configuration
    that key.) With `exporter.when`, it is exported during `run()` as well, after each `commit()` of a due epoch.

    A solver that trains in another method names it: `export_after = "train"`. Without that and without a `run()`, it is
    the outermost public method that commits more than one epoch. If a main calls a method once per epoch, a warning at
    the end of the process says that nothing was exported.
    """

    auto_export: ClassVar[bool] = False
    export_after: ClassVar[Optional[str]] = None
    # From flashy.BaseSolver:
    xp: Any
    stateful: Any
    history: Any
    # The epoch of the best state by the solver's own rule; None if that is not known.
    _export_best_epoch: Optional[int] = None
    # Whether `exporter` was checked; once is enough.
    _is_export_checked: bool = False
    # How often the outermost method that runs has committed.
    _export_commits: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        entry = named_entry(cls)
        arounds = {entry: cls._export_around_entry} if entry else dict.fromkeys(public_methods(cls),
                                                                                cls._export_around_method)
        for name, around in {**arounds, COMMIT: cls._export_around_commit}.items():
            method = getattr(cls, name, None)
            if method is not None and getattr(method, "exports", None) is not around:
                setattr(cls, name, _wrap_method(cls, name, around))

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
        self.xp.has_unexported_epochs = False
        if chosen.checkpoint is None and not self._is_stored():
            return export_state(self.stateful.sources, self.xp.cfg, self.xp.sig, self.xp.folder, chosen,
                                selection=self._living_selection(chosen))
        return export_experiment(self._export_source, chosen, selection=self._selection(chosen))

    @property
    def _has_own_rule(self) -> bool:
        return type(self).is_best_so_far is not ExportMixin.is_best_so_far

    def _selection(self, options: ExportOptions) -> Optional[Selection]:
        """How this solver selects its best state; None if that is unknown."""
        if options.metric is None and self._has_own_rule:
            return ToldEpoch(number=self._export_best_epoch)
        return self._named_selection(options)

    def _living_selection(self, options: ExportOptions) -> Optional[Selection]:
        """As `_selection`, for the present state, which may be that of an epoch that is not committed yet."""
        return UnfinishedEpoch() if getattr(self, "_pending_metrics", None) else self._selection(options)

    def _named_selection(self, options: ExportOptions) -> Optional[Selection]:
        """The selection by the option `metric`, by `best_metric_name` or by the configuration."""
        if options.metric is None and hasattr(self, "best_metric_name"):
            return Selection(self.best_metric_name)
        return selection_of(Config(to_plain(to_container(self.xp.cfg))), options.metric, options.family)

    def _ask_own_rule(self) -> bool:
        """Whether the last committed epoch is the best by the solver's own rule; remembers the best epoch."""
        before, self._export_best_epoch = self._export_best_epoch, None  # which is unknown if the rule fails
        is_best = self.is_best_so_far()
        self._export_best_epoch = len(self.history) if is_best else before
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

    @contextmanager
    def _export_around_entry(self) -> Iterator[None]:
        """Around the method that trains, where its name is known."""
        self.xp.exports_itself = True  # EpochExporter leaves it alone
        if self._is_export_wanted():
            self._check_before_training()
        yield
        self._export_after_training()

    def _check_before_training(self) -> None:
        self._is_export_checked = True
        check_before_training(self._export_source, self.xp.cfg, self._export_options())

    @contextmanager
    def _export_around_method(self) -> Iterator[None]:
        """Around a method that trains if it commits more than once; a main may call one that does so once per epoch."""
        if _running(self):
            yield
            return
        if not self._is_export_checked and hasattr(self, "xp") and self._is_export_wanted():
            self._check_before_training()
        self._export_commits = 0
        yield
        if self._export_commits > 1:
            self._export_after_training()

    @contextmanager
    def _export_around_commit(self) -> Iterator[None]:
        self.xp.exports_itself = True  # EpochExporter leaves it alone
        yield
        self._export_commits += 1
        if is_rank_zero():
            self._warn_if_nobody_exports()
            export_safely(self._export_if_due, log)

    def _export_after_training(self) -> None:
        if not self._is_export_wanted() or not barrier_is_rank_zero():
            return
        try:
            report = self.export()
        except ExportError as exc:
            raise failure_after_training(exc, self._export_source, self._export_options()) from exc
        self.xp.export_report = report  # with_export sees that the release is made
        log(report)

    def _warn_if_nobody_exports(self) -> None:
        """At the end of the process, unless something has exported until then, or the method that trains will."""
        running = _running(self)
        is_told = hasattr(self.xp, "has_unexported_epochs") or named_entry(type(self)) in running
        if self._is_export_wanted() and not is_told:
            self.xp.has_unexported_epochs = True
            atexit.register(_warn_of_unexported_epochs, self.xp, type(self).__name__, next(iter(running), None))

    def _export_if_due(self) -> Optional[ExportReport]:
        is_best = self._ask_own_rule() if self._has_own_rule else None
        if not _running(self) or not self._is_export_wanted():
            return None
        options = self._export_options()
        if is_best is None or options.metric is not None or options.when != "best":
            due = is_due(options.when, plain_numbers(self.history), self._named_selection(options))
        else:
            due = is_best
        return self.export(checkpoint=None, verify=VERIFY_DURING_TRAINING) if due else None

    def _is_export_wanted(self) -> bool:
        wanted = self._export_key(EXPORT)
        return wanted if isinstance(wanted, bool) else self.auto_export

    def _export_options(self, **options: Any) -> ExportOptions:
        chosen = ExportOptions.from_mapping(exporter_values(self._export_key(EXPORTER))).replace(**options)
        return with_absolute_paths(chosen)

    def _export_key(self, key: str) -> Any:
        """What `with_export` has set aside for this XP, or what its configuration says."""
        return _get(getattr(self.xp, "export_keys", self.xp.cfg), key)


def _wrap_method(cls: type, name: str, around: Callable[[Any], AbstractContextManager[None]]) -> Callable[..., Any]:
    """Wrap the outermost call of a method of a class, its own or an inherited one, in a context manager."""
    own = vars(cls).get(name)

    @wraps(own or getattr(cls, name))
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        # An inherited method is looked up in each call: which class is the next one depends on that of `self`.
        method = partial(own, self) if own else getattr(super(cls, self), name)
        running = _running(self)
        if name in running:  # a subclass called super()
            return method(*args, **kwargs)
        with around(self):
            running[name] = None
            try:
                return method(*args, **kwargs)
            finally:
                running.pop(name, None)

    wrapper.exports = around  # type: ignore[attr-defined]
    return wrapper


def _warn_of_unexported_epochs(xp: Any, name: str, method: Optional[str]) -> None:
    if xp.has_unexported_epochs:
        remedy = f'set export_after = "{method}" in it, or call its export()' if method else "call its export()"
        log(f"{name} committed epochs of XP {xp.sig}, and nothing was exported although export is on: {remedy} after "
            "the training.")


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
