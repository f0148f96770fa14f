"""Host: `ExportMixin` gives a Flashy solver `export()`, and an export at the end of `run()`."""

from __future__ import annotations

from argparse import Namespace
from functools import partial, wraps
from typing import Any, Callable, ClassVar, Optional

from dora.git_save import to_absolute_path
from dora.log import simple_log
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..checkpoint.allowlist import UnknownGlobal
from ..checkpoint.checkpoint import open_checkpoint
from ..errors import ExportError, OptionError
from ..experiment.xp import CHECKPOINT_FILE, Experiment
from ..options import ExportOptions
from ..pipeline.export import export_experiment, export_state
from ..pipeline.preflight import check_packages
from ..release.families.registry import family_named
from ..release.report import ExportReport
from .distributed import barrier_is_rank_zero, is_rank_zero
from .during_training import VERIFY, export_safely, is_due
from .recovery import after_training

log = partial(simple_log, "Export:")


class ExportMixin:
    """For a `flashy.BaseSolver`, in any place among its bases.

    When `run()` returns normally, the XP is exported if its configuration says `export: true`, with the
    options under `exporter`; for a configuration without that key, `auto_export` decides. (`with_export` gives
    every configuration that key.) With `exporter.when`, it is exported during `run()` as well, after each `commit()`
    of an epoch that is due.
    """

    auto_export: ClassVar[bool] = False
    # From flashy.BaseSolver:
    xp: Any
    stateful: Any
    history: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, before, after in (("run", cls._export_before_run, cls._export_after_run),
                                    ("commit", None, cls._export_after_commit)):
            method = getattr(cls, name, None)
            if method is not None and not hasattr(method, "exports"):
                own = vars(cls).get(name) or _call_inherited(cls, name, method)
                setattr(cls, name, _wrap_method(name, own, before, after))

    def is_best_so_far(self) -> bool:
        """Whether the epoch that was committed last is the best one so far, for `exporter.when=best`.

        By `best_metric_name`, as AudioCraft's solvers have it, or by the metrics of the family, the lowest being best;
        where none of them is known, each epoch is. A solver with another rule overrides this.
        """
        solver, name = _get(self.xp.cfg, "solver"), getattr(self, "best_metric_name", ...)
        metrics = family_named(solver if isinstance(solver, str) else None).metrics if name is ... else (name,)
        return is_due("best", self.history, [metric for metric in metrics if metric])

    def export(self, **options: Any) -> Optional[ExportReport]:
        """Export this experiment now.

        What the last `commit` stored is exported; where it stored nothing (`save_last: false`), the state
        that the solver has at this moment.

        Args:
            **options: those of `ExportOptions`, over what the configuration says under `exporter`.

        Returns:
            The report; None on all ranks but zero, which do nothing.

        Raises:
            ExportError: if an option is wrong, the state cannot be released, or the release cannot be written.
        """
        chosen = self._export_options(**options)
        if not is_rank_zero():
            return None
        if chosen.folder is not None:
            chosen = chosen.replace(folder=to_absolute_path(str(chosen.folder)))
        if chosen.checkpoint is None and not self._is_stored():
            return export_state(self.stateful.sources, self.xp.cfg, self.xp.sig, self.xp.folder, chosen)
        return export_experiment(Experiment(self.xp.folder, self.xp.sig), chosen)

    @property
    def _export_calls(self) -> set[str]:
        """Which of the methods that an export follows are running."""
        calls: set[str] = vars(self).setdefault("_export_running", set())
        return calls

    def _is_stored(self) -> bool:
        """Whether `checkpoint.th` has all epochs of this solver; more than those if it was not restored yet."""
        path, mine = self.xp.folder / CHECKPOINT_FILE, list(self.history)
        return path.exists() and _agrees(open_checkpoint(path).history[:len(mine)], mine)

    def _exports_by_itself(self) -> bool:
        wanted = self._export_key("export")
        return wanted if isinstance(wanted, bool) else self.auto_export

    def _export_before_run(self) -> None:
        self.xp.exports_itself = True  # with_export need not look after it
        if self._exports_by_itself():
            check_packages(self._export_options())  # what is wrong is said before the training

    def _export_after_commit(self) -> None:
        if "run" in self._export_calls and is_rank_zero():
            export_safely(self._export_if_due, log)

    def _export_if_due(self) -> Optional[ExportReport]:
        if not self._exports_by_itself():
            return None
        options = self._export_options()
        due = self.is_best_so_far() if options.when == "best" else is_due(options.when, self.history, ())
        return self.export(checkpoint=None, verify=VERIFY) if due else None

    def _export_after_run(self) -> None:
        if not self._exports_by_itself() or not barrier_is_rank_zero():
            return
        try:
            report = self.export()
        except ExportError as exc:
            raise after_training(exc, self.xp.sig, self.xp.folder, self._export_options()) from exc
        self.xp.export_report = report  # with_export sees that the release is made
        log(report)

    def _export_options(self, **options: Any) -> ExportOptions:
        values = self._export_key("exporter")
        values = ExportOptions.mapping_of(vars(values) if isinstance(values, Namespace) else values)
        return ExportOptions.from_mapping(values).replace(**options)

    def _export_key(self, key: str) -> Any:
        """What `with_export` has set aside for this XP, or what its configuration says."""
        return _get(getattr(self.xp, "export_keys", self.xp.cfg), key)


def _wrap_method(name: str, method: Callable[..., Any], before: Optional[Callable[[Any], None]],
                after: Callable[[Any], None]) -> Callable[..., Any]:
    """A method of a solver, with what is to be done before its outermost call and once that has returned."""
    @wraps(method)
    def surrounded(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls = self._export_calls
        if name in calls:  # a subclass called super()
            return method(self, *args, **kwargs)
        if before is not None:
            before(self)
        calls.add(name)
        try:
            result = method(self, *args, **kwargs)
        finally:
            calls.discard(name)
        after(self)
        return result

    surrounded.exports = True  # type: ignore[attr-defined]
    return surrounded


def _call_inherited(cls: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of the next class, whichever that will be."""
    @wraps(method)
    def inherited(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(cls, self), name)(*args, **kwargs)
    return inherited


def _agrees(stored: Any, living: Any) -> bool:
    """Whether metrics are the same, as far as they could be read: a scalar of numpy comes back as a stranger."""
    if isinstance(stored, UnknownGlobal):
        return True
    if isinstance(stored, dict) and isinstance(living, dict):
        return list(stored) == list(living) and all(_agrees(stored[name], living[name]) for name in stored)
    if isinstance(stored, list) and isinstance(living, (list, tuple)):
        return len(stored) == len(living) and all(map(_agrees, stored, living))
    return repr(stored) == repr(living)  # NaN does not equal itself


def _get(cfg: Any, key: str) -> Any:
    """The value of a key in an XP's configuration, whichever kind it is, resolved."""
    if isinstance(cfg, (DictConfig, dict)) and key in cfg:
        try:
            return OmegaConf.to_container(cfg[key], resolve=True) if OmegaConf.is_config(cfg[key]) else cfg[key]
        except OmegaConfBaseException as exc:
            raise OptionError(f"{key} cannot be resolved ({type(exc).__name__}): write the value itself.") from exc
    return getattr(cfg, key, None) if isinstance(cfg, Namespace) else None
