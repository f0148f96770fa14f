"""Host: `ExportMixin` gives a Flashy solver `export()`, and an export at the end of `run()`."""

from __future__ import annotations

from argparse import Namespace
from functools import partial, wraps
from typing import Any, Callable, ClassVar, Optional

from dora.git_save import to_absolute_path
from dora.log import simple_log
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .allowed import Stranger
from .checkpoint import open_checkpoint
from .errors import ExportError, OptionError
from .experiment import LAST, Experiment
from .export import after_training, export_experiment, export_state
from .options import ExportOptions
from .ranks import is_rank_zero, is_rank_zero_of_all
from .release import ExportReport

log = partial(simple_log, "Export:")


class ExportMixin:
    """For a `flashy.BaseSolver`, in any place among its bases.

    When `run()` returns normally, the XP is exported if its configuration says `export: true`, with the
    options under `exporter`; for a configuration without that key, `auto_export` decides. (`with_export` gives
    every configuration that key.)
    """

    auto_export: ClassVar[bool] = False
    _export_running = False
    # From flashy.BaseSolver:
    xp: Any
    stateful: Any
    history: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        run = getattr(cls, "run", None)
        if run is None or hasattr(run, "exports"):
            return
        if "run" not in vars(cls):
            def run(self: Any, *args: Any, **kwargs: Any) -> Any:
                return super(cls, self).run(*args, **kwargs)  # type: ignore[misc]
        cls.run = _exporting(run)  # type: ignore[attr-defined]

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

    def _is_stored(self) -> bool:
        """Whether `checkpoint.th` has all epochs of this solver; more than those if it was not restored yet."""
        path, mine = self.xp.folder / LAST, list(self.history)
        return path.exists() and _agrees(open_checkpoint(path).history[:len(mine)], mine)

    def _export_after_run(self) -> None:
        wanted = self._export_key("export")
        if not (wanted if isinstance(wanted, bool) else self.auto_export) or not is_rank_zero_of_all():
            return
        try:
            report = self.export()
        except ExportError as exc:
            raise after_training(exc, self.xp.sig, self.xp.folder, self._export_options()) from exc
        self.xp.export_report = report  # with_export sees that the release is made
        log(report)

    def _export_options(self, **options: Any) -> ExportOptions:
        values = self._export_key("exporter")
        return ExportOptions.from_mapping(values if isinstance(values, dict) else {}).replace(**options)

    def _export_key(self, key: str) -> Any:
        """What `with_export` has set aside for this XP, or what its configuration says."""
        return _get(getattr(self.xp, "export_keys", self.xp.cfg), key)


def _exporting(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def run_and_export(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._export_running:  # a subclass called super().run(): the outermost run exports
            return run(self, *args, **kwargs)
        self._export_running = True
        try:
            result = run(self, *args, **kwargs)
        finally:
            self._export_running = False
        self._export_after_run()
        return result

    run_and_export.exports = True  # type: ignore[attr-defined]
    return run_and_export


def _agrees(stored: Any, living: Any) -> bool:
    """Whether metrics are the same, as far as they could be read: a scalar of numpy comes back as a stranger."""
    if isinstance(stored, Stranger):
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
