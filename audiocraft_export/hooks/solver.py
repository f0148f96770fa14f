"""`ExportMixin` gives a Flashy solver `export()`, and an export at the end of `run()`."""

import atexit
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Callable, ClassVar, Optional

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..checkpoint.allowlist import UnknownGlobal
from ..checkpoint.checkpoint import open_checkpoint
from ..checkpoint.numpy_scalars import plain_numbers, to_number
from ..checkpoint.plain_config import to_plain
from ..checkpoint.tensor import SHARD_REMEDY
from ..errors import CheckpointError, ExportError, OptionError, coded_warning, show_warning
from ..experiment.config import Config, to_container
from ..experiment.xp import Experiment
from ..options import EXPORT, EXPORTER, ExportOptions
from ..pipeline.export import export_experiment, export_state
from ..pipeline.preflight import check_before_training
from ..pipeline.previous_scrub import keep_scrub
from ..release.families.registry import best_rule
from ..release.metrics import BestRule, OwnRule, WatchedRule
from ..release.report import ExportReport
from ..storage.file_version import file_version
from .after_success import after_success
from .best_state import BestStateWatch
from .distributed import barrier_is_rank_zero, is_rank_zero, is_sharded
from .during_training import VERIFY_DURING_TRAINING, explain_unknown_best, export_safely, is_due
from .entry import COMMIT, RESTORE, accepts, is_library_method, named_entry, public_methods
from .first_stage import check_first_stage
from .messages import fatal_errors, is_main_running, log
from .overrides import exporter_arguments, exporter_values, with_absolute_paths
from .recovery import export_command, failure_after_training, store_state
from .safe_globals import allow_config_classes
from .xp_state import xp_state

_unexported: dict[str, str] = {}  # warnings to log at the end of the process, by signature


class ExportMixin:
    """Add exports to a `flashy.BaseSolver`; the order of the bases does not matter.

    When `run()` returns, or exits with code 0, the XP is exported if its configuration has `export: true`, with the
    options under `exporter`. A solver that has neither committed nor restored an epoch is not exported. Without the key
    `export`, `auto_export` decides (`with_export` adds the key to every configuration). With `exporter.when`, the XP is
    also exported during the training, after each `commit()` of an epoch that is due.

    A solver that trains in another method names it in `export_after`, such as `export_after = "train"`. Without
    `export_after`, the outermost public method that commits more than one epoch also exports when it returns. If a main
    calls a method once per epoch, a warning at the end of the process names the epochs that were not exported.

    Attributes:
        auto_export: whether to export if the configuration has no key `export`.
        export_after: the name of the method that trains, if it is not `run`.
    """

    auto_export: ClassVar[bool] = False
    export_after: ClassVar[Optional[str]] = None
    # From flashy.BaseSolver:
    xp: Any
    stateful: Any
    state_dict: Any
    history: Any
    _export_best_epoch: Optional[int] = None  # according to an overridden `is_best_so_far()`; None if unknown
    _export_watch: Optional[BestStateWatch] = None  # since the first commit or `restore()`
    _export_last_epoch: Optional[int] = None  # the last epoch that this process has committed
    _export_commits: int = 0  # commits in the outermost method since its last export
    _export_is_checked: bool = False  # whether the options were checked before the training
    _export_is_automatic: bool = False  # whether `export()` is called here, not by the project

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in {*public_methods(cls), named_entry(cls) or COMMIT, COMMIT, RESTORE}:
            method = getattr(cls, name, None)
            if method is not None and not hasattr(method, "exports"):
                setattr(cls, name, _wrap_method(cls, name))

    def is_best_so_far(self) -> bool:
        """Return whether the last committed epoch is the best so far, for `exporter.when=best`.

        By default, the epoch with the lowest value of `best_metric_name` is the best, or the rule of AudioCraft's
        solver applies; if neither is known, every epoch is the best so far. Override this method for another rule. It
        is called once after each `commit()`, and the last epoch for which it returns true is the epoch of the best
        state. Only rank zero calls it, so it must not wait for other ranks. `exporter.metric` takes precedence over
        this method.
        """
        rule = self._export_named_rule(self._export_options().replace(metric=None))
        return is_due("best", plain_numbers(self.history), rule)

    def export(self, **options: Any) -> Optional[ExportReport]:
        """Export the experiment now.

        Exports the last stored checkpoint. If it lacks epochs of the solver (`save_last: false`), the state in memory
        is exported; if that fails after an epoch, the state is stored as a checkpoint.

        Args:
            **options: options of `ExportOptions` that override the configuration.

        Returns:
            The report on rank zero; None on all other ranks, which export nothing.

        Raises:
            ExportError: if an option is invalid, or the release cannot be made or written.
        """
        chosen = self._export_options(**options)
        if not is_rank_zero():
            return None
        chosen = keep_scrub(chosen.release_folder(self.xp.folder), chosen)
        rule = self._export_best_rule(chosen)
        if chosen.checkpoint is None and not self._export_is_stored():
            is_unfinished = self._export_is_between_epochs()
            try:
                report = export_state(self._export_sources(), self.xp.cfg, self.xp.sig, self.xp.folder, chosen,
                                      rule=rule, is_unfinished=is_unfinished)
            except Exception:
                if not self._export_is_automatic and not is_unfinished:
                    self._export_keep_state()
                raise
        else:
            report = export_experiment(self._export_xp, chosen, rule=rule)
        _unexported.pop(self.xp.sig, None)
        return report

    @property
    def _export_has_own_rule(self) -> bool:
        method = type(self).is_best_so_far  # one that needs arguments is a method of the project with the same name
        return method is not ExportMixin.is_best_so_far and accepts(method)

    def _export_best_rule(self, options: ExportOptions) -> Optional[BestRule]:
        """Return how this solver selects its best state; None if unknown."""
        if options.metric is None and self._export_has_own_rule:
            return OwnRule(best_epoch=self._export_best_epoch)
        named, watch = self._export_named_rule(options), self._export_watch
        if named is None or named.is_audiocraft or watch is None:
            return named
        changed = watch.changed_if_best(named.epoch(plain_numbers(self.history)))
        return WatchedRule(**vars(named), changed=changed, epochs=watch.epoch)

    def _export_named_rule(self, options: ExportOptions) -> Optional[BestRule]:
        """Return the rule by the option `metric`, by `best_metric_name` or by the configuration."""
        if options.metric is None and hasattr(self, "best_metric_name"):
            update = getattr(type(self), "update_best_state_from_stage", None)  # defined by AudioCraft's StandardSolver
            is_audiocraft = getattr(update, "__module__", "").startswith("audiocraft.")
            name = self.best_metric_name
            return BestRule(name, is_audiocraft=is_audiocraft) if name or is_audiocraft else None
        return best_rule(Config(to_plain(to_container(self.xp.cfg))), options.metric, options.family)

    def _export_is_between_epochs(self) -> bool:
        """Return whether the solver may have trained since its last committed epoch."""
        is_in_stage = getattr(self, "_current_stage", None) is not None
        return is_in_stage or bool(getattr(self, "_pending_metrics", None)) \
            or self._export_last_epoch != len(self.history)

    def _export_ask_own_rule(self) -> bool:
        """Call the overridden `is_best_so_far()`, and remember the best epoch."""
        before, self._export_best_epoch = self._export_best_epoch, None  # stays unknown if the rule raises
        is_best = self.is_best_so_far()
        is_kept = before is not None and before < len(self.history)  # false if the epoch was rolled back
        self._export_best_epoch = len(self.history) if is_best else before if is_kept else None
        return is_best

    def _export_sources(self) -> Mapping[str, Any]:
        """Return the sources of the sections that Flashy would store in a checkpoint."""
        if is_library_method(type(self).state_dict):
            return {name: _Shard(name) if is_sharded(source) else source
                    for name, source in self.stateful.sources.items()}
        return {name: _Section(state) for name, state in self.state_dict().items()}

    @property
    def _export_xp(self) -> Experiment:
        return Experiment(self.xp.folder, self.xp.sig)

    def _export_is_stored(self) -> bool:
        """Return whether `checkpoint.th` has all epochs of this solver; it has more before the solver is restored.

        A file that cannot be opened has none of the epochs that this process has trained.

        Raises:
            CheckpointError: if the file cannot be opened, and the solver has committed no epoch in this process: its
                weights may be random.
        """
        path, history = self._export_xp.checkpoint_path(), list(self.history)
        if not path.exists():
            return False
        try:
            stored = open_checkpoint(path).state.get("history")  # history.json may be newer than the checkpoint
        except CheckpointError:
            if self._export_last_epoch is None:
                raise
            return False
        return _same_metrics(stored[:len(history)] if isinstance(stored, list) else [], history)

    def _export_around(self, name: str) -> AbstractContextManager[None]:
        """Return the context in which the outermost call of a method runs."""
        if name == COMMIT:
            return self._export_around_commit()
        if name == RESTORE:
            return self._export_around_restore()
        if name == named_entry(type(self)):
            return self._export_around_entry()
        return nullcontext() if self.export_after or _running(self) else self._export_around_method()

    @contextmanager
    def _export_around_restore(self) -> Iterator[None]:
        """Let torch load the configuration in a checkpoint, and look at the restored best state."""
        allow_config_classes()
        yield
        if self.history:
            self._export_watch = self._export_watch or BestStateWatch()
            self._export_watch.restored(getattr(self, "best_state", None), len(self.history))

    @contextmanager
    def _export_around_entry(self) -> Iterator[None]:
        """Check before and export after the method that trains, if its name is known."""
        xp_state(self.xp).is_exported_by_solver = True
        with self._export_checked_training(), after_success(self._export_after_entry):
            yield

    def _export_after_entry(self) -> None:
        if self._export_is_wanted():
            self._export_after_training(barrier_is_rank_zero)

    def _export_checked_training(self) -> AbstractContextManager[None]:
        """Check the export before the training and, inside the context, again before the first stage."""
        with fatal_errors(is_main_running()):
            if not self._export_is_wanted():
                return nullcontext()
            self._export_refuse_conflict()
            if xp_state(self.xp).keys is not None:  # with_export has checked everything else
                return nullcontext()
            options = self._export_options()
            if not self._export_is_checked:
                self._export_is_checked = True
                check_before_training(self._export_xp, self.xp.cfg, options)
        return check_first_stage(options, self)

    @contextmanager
    def _export_around_method(self) -> Iterator[None]:
        """Export after a method that commits more than once, unlike a method that a main calls once per epoch."""
        self._export_commits = 0
        checked = self._export_checked_training() if hasattr(self, "xp") else nullcontext()  # `__init__` may still run
        with checked, after_success(self._export_after_method):
            yield

    def _export_after_method(self) -> None:
        # No barrier: if only rank zero commits, the other ranks cannot know that this method has trained.
        if self._export_commits > 1 and self._export_is_wanted():
            self._export_after_training(is_rank_zero)

    @contextmanager
    def _export_around_commit(self) -> Iterator[None]:
        """Count a commit, and export after it if its epoch is due."""
        xp_state(self.xp).is_exported_by_solver = True
        yield
        self._export_commits += 1
        self._export_last_epoch = len(self.history)
        self._export_watch = self._export_watch or BestStateWatch()
        self._export_watch.update(getattr(self, "best_state", None), len(self.history))
        xp_state(self.xp).best_rule = self._export_best_rule
        if is_rank_zero():
            with self._export_automatically():
                export_safely(self._export_if_due, log)

    def _export_refuse_conflict(self) -> None:
        """Refuse a method or an attribute `export` of the project that hides `ExportMixin.export`.

        Raises:
            OptionError: if the method does not accept the options of an export, or the solver has the attribute.
        """
        cls = type(self)
        if EXPORT in vars(self):
            raise OptionError("name-conflict", f"The attribute export of {cls.__name__} hides ExportMixin.export(), "
                              "which exports the experiment", "rename the attribute")
        if not accepts(cls.export) or not accepts(cls.export, "checkpoint", "verify"):
            raise OptionError("name-conflict", f"{cls.__name__}.export() hides ExportMixin.export(), which exports "
                              "the experiment", "rename the method, or let it call super().export(**options)")

    def _export_after_training(self, is_exporting_rank: Callable[[], bool]) -> None:
        """Export on rank zero; if that fails, store the state.

        Args:
            is_exporting_rank: returns whether this rank exports; may wait for the other ranks.
        """
        self._export_commits = 0
        _unexported.pop(self.xp.sig, None)
        with fatal_errors(is_main_running()), self._export_automatically():
            try:
                if not is_exporting_rank():
                    return
                if self._export_last_epoch is None and not self._export_is_stored():
                    log(f"{type(self).__name__} has neither committed nor restored an epoch, so it is not exported")
                    return
                report = self.export()
            except Exception as exc:
                if is_rank_zero():
                    self._export_keep_state()
                if not isinstance(exc, ExportError):
                    raise
                raise failure_after_training(exc, self._export_xp, self._export_options()) from exc
        if isinstance(report, ExportReport):  # not if a project overrides `export`
            state = xp_state(self.xp)
            state.report = report
            state.exported = file_version(self._export_xp.checkpoint_path(self._export_options().checkpoint))
            log(report)

    @contextmanager
    def _export_automatically(self) -> Iterator[None]:
        self._export_is_automatic = True
        try:
            yield
        finally:
            self._export_is_automatic = False

    def _export_keep_state(self) -> None:
        """Store the state if it is only in memory."""
        with suppress(CheckpointError):
            if self._export_last_epoch is not None and not self._export_is_stored():
                store_state(self, self._export_xp)

    def _export_if_due(self) -> Optional[ExportReport]:
        is_best = self._export_ask_own_rule() if self._export_has_own_rule else None
        if not self._export_is_wanted():
            return None
        if xp_state(self.xp).keys is None:  # with_export always exports at the end
            _unexported[self.xp.sig] = self._export_explain_missing()
        options = self._export_options()
        if is_best is None or options.metric is not None or options.when != "best":
            history, rule = plain_numbers(self.history), self._export_named_rule(options)
            if len(history) == 1 and (warning := explain_unknown_best(options.when, history, rule)):
                log(show_warning(warning))
            due = is_due(options.when, history, rule)
        else:
            due = is_best
        return self.export(checkpoint=None, verify=VERIFY_DURING_TRAINING) if due else None

    def _export_explain_missing(self) -> str:
        """Return the warning to log at the end of the process if committed epochs were not exported."""
        method, hint = next(iter(_running(self)), None), "call its export() after the training"
        if self.export_after and self.export_after not in _running(self):
            hint = f"correct its export_after ({self.export_after}() was not called), or {hint}"
        elif method not in (None, named_entry(type(self))):
            hint = f'{hint}, or set export_after = "{method}" in it to export after each call of {method}()'
        return coded_warning("epochs-not-exported", f"{type(self).__name__} committed epochs of XP {self.xp.sig} that "
                             f"were not exported, although export is on: {hint}")

    def _export_is_wanted(self) -> bool:
        """Return whether `export` is true; `auto_export` decides if the key is absent, or a group of the project.

        Raises:
            OptionError: if the value is neither true nor false.
        """
        wanted = self._export_key(EXPORT)
        if wanted in ("true", "false"):  # from argparse
            return bool(wanted == "true")
        if isinstance(wanted, (str, int, float)) and not isinstance(wanted, bool):
            hint = f"to export without training: {export_command(self._export_xp)}" if wanted == "only" else ""
            raise OptionError("invalid-option", f"Invalid value {wanted!r} for export: expected true or false", hint)
        return wanted if isinstance(wanted, bool) else self.auto_export

    def _export_options(self, **options: Any) -> ExportOptions:
        values = {**exporter_values(self._export_key(EXPORTER)), **exporter_arguments(self.xp.cfg)}
        if values.get("sign") is None:
            values.update(xp_state(self.xp).signing)
        chosen = ExportOptions.from_mapping(values).replace(**options)
        return with_absolute_paths(chosen)

    def _export_key(self, key: str) -> Any:
        """Return the value of `export` or `exporter`, which `with_export` removes from the configuration."""
        keys = xp_state(self.xp).keys
        return _get(self.xp.cfg if keys is None else keys, key)


@dataclass
class _Section:
    """A source of state for a section that a solver has made in its own `state_dict()`."""

    state: Any

    def state_dict(self) -> Any:
        return self.state


@dataclass
class _Shard:
    """In place of the source of a module that FSDP has split: rank zero alone cannot gather it."""

    name: str

    def state_dict(self) -> Any:
        raise CheckpointError("sharded-weights", f"{self.name} of the solver is split over several ranks by FSDP",
                              SHARD_REMEDY)


def _wrap_method(cls: type, name: str) -> Callable[..., Any]:
    """Wrap a method that a class defines or inherits in `_export_around`."""
    own = vars(cls).get(name)

    @wraps(own or getattr(cls, name))
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Inherited methods are looked up in each call: the next class depends on the class of `self`.
        method = partial(own, self) if own else getattr(super(cls, self), name)
        running = _running(self)
        if name in running:  # a subclass called super()
            return method(*args, **kwargs)
        with self._export_around(name):
            running[name], before = None, self._export_last_epoch
            try:
                return method(*args, **kwargs)
            except BaseException as exc:
                is_success = isinstance(exc, SystemExit) and not exc.code
                if self._export_last_epoch != before and not is_success:  # the error explains the missing export
                    _unexported.pop(self.xp.sig, None)
                raise
            finally:
                running.pop(name, None)

    wrapper.exports = True  # type: ignore[attr-defined]
    return wrapper


@atexit.register
def _warn_of_unexported_epochs() -> None:
    for warning in _unexported.values():
        log(show_warning(warning))


def _running(solver: Any) -> dict[str, None]:
    """Return the names of the wrapped methods of a solver that are running, the outermost first."""
    running: dict[str, None] = vars(solver).setdefault("_export_running", {})
    return running


def _same_metrics(stored: Any, present: Any) -> bool:
    """Return whether metrics are equal; unknown globals of a checkpoint equal anything."""
    if isinstance(stored, UnknownGlobal):
        return True
    if isinstance(stored, dict) and isinstance(present, dict):
        return list(stored) == list(present) and all(_same_metrics(stored[name], present[name]) for name in stored)
    if isinstance(stored, list) and isinstance(present, (list, tuple)):
        return len(stored) == len(present) and all(map(_same_metrics, stored, present))
    return repr(stored) == repr(to_number(present))  # NaN does not equal itself


def _get(cfg: Any, key: str) -> Any:
    """Return the resolved value of a key in a configuration of any kind; None if the key is absent.

    Raises:
        OptionError: if the value cannot be resolved.
    """
    if isinstance(cfg, Namespace):
        return getattr(cfg, key, None)
    if not isinstance(cfg, (DictConfig, dict)) or key not in cfg:
        return None
    try:
        return OmegaConf.to_container(cfg[key], resolve=True) if OmegaConf.is_config(cfg[key]) else cfg[key]
    except OmegaConfBaseException as exc:
        raise OptionError("unresolved-option", f"Cannot resolve an interpolation in {key} ({type(exc).__name__})",
                          "write the value itself") from exc
