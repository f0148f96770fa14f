"""Host: `ExportMixin` gives a Flashy solver `export()`, and an export at the end of `run()`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from functools import wraps
from typing import Any, Callable, ClassVar, Optional

from dora.distrib import get_distrib_spec
from dora.git_save import to_absolute_path
from omegaconf import DictConfig

from .checkpoint import open_checkpoint
from .config import unwrap
from .errors import ExportError
from .experiment import Experiment
from .export import after_training, export_experiment, export_state
from .options import ExportOptions
from .release import ExportReport

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "best": ("best_state", "fsdp_best_state", "history"),
    "ema": ("ema", "model", "history"),
    "last": ("model", "history"),
}


class ExportMixin:
    """For a `flashy.BaseSolver`, in any place among its bases.

    When `run()` returns normally, the XP is exported if its configuration says `export: true`, with the
    options under `exporter`; for a configuration without that key, `auto_export` decides.
    """

    auto_export: ClassVar[bool] = False
    _running = False
    # From flashy.BaseSolver:
    xp: Any
    stateful: Any
    history: Any
    logger: Any

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
        values = _get(self.xp.cfg, "exporter")
        chosen = ExportOptions.from_mapping(values if isinstance(values, dict) else {}).replace(**options)
        if get_distrib_spec().rank != 0:  # type: ignore[no-untyped-call]
            return None
        if chosen.folder is not None:
            chosen = chosen.replace(folder=to_absolute_path(str(chosen.folder)))
        if chosen.checkpoint is None and not self._is_stored():
            state = {name: self.stateful.sources[name].state_dict()
                     for name in SECTIONS[chosen.weights] if name in self.stateful.sources}
            return export_state(state, self.xp.cfg, self.xp.sig, self.xp.folder, chosen)
        return export_experiment(Experiment(self.xp.folder, self.xp.sig), chosen)

    def _is_stored(self) -> bool:
        """Whether `checkpoint.th` has every epoch that the solver has (it may have more: not restored yet)."""
        path = self.xp.folder / "checkpoint.th"
        return path.exists() and len(open_checkpoint(path).history) >= len(self.history)

    def _export_after_run(self) -> None:
        wanted = _get(self.xp.cfg, "export")
        if not (wanted if isinstance(wanted, bool) else self.auto_export):
            return
        try:
            report = self.export()
        except ExportError as exc:
            raise after_training(exc, self.xp.sig, self.xp.folder, self.xp.dora.dir) from exc
        if report is not None:
            self.xp.export_report = report  # with_export sees that the release is made
            self.logger.info("%s", report)


def _exporting(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def run_and_export(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._running:  # a subclass called super().run(): the outermost run exports
            return run(self, *args, **kwargs)
        self._running = True
        try:
            result = run(self, *args, **kwargs)
        finally:
            self._running = False
        self._export_after_run()
        return result

    run_and_export.exports = True  # type: ignore[attr-defined]
    return run_and_export


def _get(cfg: Any, key: str) -> Any:
    """The value of a key in an XP's configuration, whichever kind it is."""
    if isinstance(cfg, (DictConfig, dict)):
        return unwrap(cfg.get(key))
    return getattr(cfg, key, None) if isinstance(cfg, Namespace) else None
