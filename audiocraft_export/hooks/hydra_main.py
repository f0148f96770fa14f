"""Host: `with_export` wraps a Dora main over Hydra, so that `export=true` exports when it returns.

This is no Hydra callback: an exception in one of those becomes a warning and exit code 0.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from dora.git_save import to_absolute_path
from dora.hydra import HydraMain
from dora.log import fatal, simple_log
from dora.main import _load_main, get_module_name
from dora.xp import XP, get_xp, is_xp
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ..errors import ExperimentError, ExportError, OptionError
from ..experiment.xp import Experiment
from ..options import ExportOptions
from .distributed import barrier_is_rank_zero, is_rank_zero
from .overrides import EXPORT, EXPORTER, MODES, is_override, key_of, quoted, read, read_project, split

if TYPE_CHECKING:
    from ..release.report import ExportReport

PROVIDER = "audiocraft-export"

log = partial(simple_log, "Export:")


def with_export(main: HydraMain, module: Optional[str] = None) -> HydraMain:
    """Give a Dora main over Hydra the keys `export` and `exporter`; neither enters the signature.

    With `export=true` the XP is exported when `main` returns, by rank zero; with `export=only`, `main`
    is not run and what the XP has now is exported.

    Args:
        main: as decorated by `dora.hydra_main`.
        module: full name of the module that holds the wrapped main as `main`, if that is not the module of `main`
            itself: DDP workers and Slurm jobs are started by that name.

    Raises:
        OptionError: if `main` is not such a main.
    """
    if not isinstance(main, HydraMain):
        raise OptionError(f"with_export wraps a main over Hydra, and {main!r} is none: write @with_export above "
                          "@hydra_main; for an argparse main, let the solver inherit ExportMixin.")
    known = isinstance(main, ExportingMain)  # another project wraps what is wrapped already
    # A project may have its own kind of HydraMain.
    kind = type("ExportingMain", (type(main),) if known else (ExportingMain, type(main)), {})
    wrapped: HydraMain = kind(main)
    name = None if module is None else get_module_name(module)  # type: ignore[no-untyped-call]
    if name is not None:
        package, _, wrapped.main_module = name.rpartition(".")
        wrapped.package = package or "unknown"
        wrapped._full_name = f"{name}.main"
    return wrapped


class ExportSearchPath(SearchPathPlugin):
    """Lets Hydra find the config group `exporter`, after all folders of the project."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the config folder of this package."""
        package = Path(__file__).parents[1]
        folder = package / "config" if (package / "config").is_dir() else package.parent / "config"
        search_path.append(PROVIDER, f"file://{folder}")


# Before `hydra_main` composes a project's configuration: that may choose from our group in its defaults.
Plugins.instance().register(ExportSearchPath)


class ExportingMain(HydraMain):
    """A Dora main that exports; everything else is that of the main it was made of.

    Args:
        main: whose place it takes. Its configuration is not composed again, because projects change it
            after decoration (AudioCraft its Slurm settings).
    """

    def __init__(self, main: HydraMain) -> None:
        vars(self).update(vars(main))
        self.dora.exclude = [*self.dora.exclude, EXPORT, EXPORTER, f"{EXPORTER}.*"]
        self._taken = any(group.partition("/")[0] == EXPORT for group in self._config_groups)
        self._config_groups = [*(group for group in self._config_groups if group != EXPORTER), EXPORTER]
        self._from: Optional[tuple[str, list[str]]] = None
        self._known: dict[tuple[str, ...], DictConfig] = {}

    def __reduce__(self) -> Any:
        """The name by which Slurm jobs and the processes of `dora grid` find this, and not what it was made of."""
        module = f"{self.package}.{self.main_module}"
        is_main = getattr(sys.modules.get(module), "main", None) is self
        return _load_main, (f"{module}.main" if is_main else self._full_name,)

    def get_argv_from_sig(self, sig: str) -> Sequence[str]:
        """The stored command line of an XP, as Dora asks for it with `-f SIG`."""
        argv = list(super().get_argv_from_sig(sig))
        self._from = sig, argv
        return argv

    def value_to_argv(self, arg: Any) -> list[str]:
        """The overrides that a grid binds; options in a dictionary are no name in the group `exporter`."""
        if isinstance(arg, dict) and isinstance(arg.get(EXPORTER), dict):
            arg = [f"{key}={quoted(value)}" if key == EXPORTER else {key: value} for key, value in arg.items()]
        argv: list[str] = super().value_to_argv(arg)
        return argv

    def get_xp(self, argv: Sequence[str]) -> XP:
        """The XP of a command line: that of the project without us, and `export` and `exporter` in its configuration.

        Raises:
            SystemExit: if `export` or `exporter` is wrong there, after one sentence, as Dora does it.
        """
        own, others = split(argv)
        try:
            self._refuse_drift(own, others)
            xp: XP = super().get_xp(others)
            keys = self._keys(xp.cfg, own)
            read_project(keys)
            with open_dict(xp.cfg):
                xp.cfg.update(keys)
            read(xp.cfg)  # where interpolations find what they refer to
        except ExportError as exc:
            fatal(str(exc))
        xp.argv = [*xp.argv, *own]  # Dora sends it to Slurm
        return xp

    def init_xp(self, xp: XP) -> XP:
        """Create the XP folder; the command line stored in it is that of the project without us.

        Raises:
            SystemExit: with `export=only`, if there is nothing to export.
        """
        mode, options = read(xp.cfg)
        if mode == "only":
            try:
                Experiment(xp.folder, xp.sig).checkpoint(options.checkpoint)
            except ExportError as exc:
                fatal(str(exc))
        else:
            stored = copy(xp)
            stored.argv = split(xp.argv)[1]
            super().init_xp(stored)
        return xp

    def _keys(self, project: DictConfig, own: Sequence[str]) -> DictConfig:
        """What `export` and `exporter` are: the defaults, the project's configuration, the command line.

        Raises:
            OptionError: if that cannot be composed.
        """
        if self._taken:
            raise OptionError("This project has a config group named export, a key that audiocraft-export needs: "
                              "rename the group.")
        mode, exporter = read_project(project)
        keys = [key_of(arg) for arg in own]
        ExportOptions.check_names(key[len(EXPORTER) + 1:] for key in keys if key.startswith(f"{EXPORTER}."))
        if all(arg in MODES for arg in own) and not self._has_group():  # composing takes longer than all else of ours
            for arg in own:
                mode = MODES[arg]
            return OmegaConf.create({EXPORT: mode, EXPORTER: {**asdict(ExportOptions()), **exporter}})
        overrides = [f"+{EXPORT}={quoted(mode)}", f"+{EXPORTER}=default", *(arg.lstrip("+") for arg in own)]
        if EXPORTER not in keys:  # a group that the user chooses replaces what the project has
            overrides[2:2] = [f"{EXPORTER}.{name}={quoted(value)}" for name, value in exporter.items()]
        return self._composed(tuple(overrides))

    def _has_group(self) -> bool:
        """Whether the project has a group `exporter`, or a plugin brings one."""
        with self._hydra():
            sources = GlobalHydra.instance().config_loader().get_sources()
            return any(source.is_group(EXPORTER) for source in sources if source.provider != PROVIDER)

    def _hydra(self) -> AbstractContextManager[Any]:
        return initialize_config_dir(str(self.full_config_path), job_name=self._job_name, **self.hydra_kwargs)

    def _composed(self, overrides: tuple[str, ...]) -> DictConfig:
        if overrides not in self._known:  # a run asks for its XP three times
            try:
                with self._hydra():
                    self._known[overrides] = compose(None, list(overrides))
            except (HydraException, ValueError) as exc:
                raise OptionError(" ".join(str(exc).split("Config search path")[0].split())) from exc
        return self._known[overrides]

    def _main(self) -> Any:
        if not is_xp():  # a multirun of Hydra, which Dora does not follow
            keys = self._keys(self._base_cfg, split(sys.argv[1:])[0])
            if keys[EXPORT]:
                log("a multirun has no XP, so nothing is exported.")
            return self._run(_as_overrides(keys))
        xp = get_xp()
        mode, options = read(xp.cfg)
        ours = _as_overrides(xp.cfg)
        # Solvers store the configuration of their XP: what they store is that of the project without us.
        xp.export_keys = {EXPORT: mode, EXPORTER: asdict(options)}  # type: ignore[attr-defined]  # for ExportMixin
        with open_dict(xp.cfg):
            del xp.cfg[EXPORT], xp.cfg[EXPORTER]
        if options.folder is not None:
            options = options.replace(folder=to_absolute_path(str(options.folder)))
        if mode is True and options.needs_extra:
            from ..pipeline.preflight import check_packages
            try:
                check_packages(options)
            except ExportError as exc:
                fatal(str(exc))
        if mode is True and options.when != "end" and is_rank_zero() and not _trains_nothing(xp.cfg):
            from .during_training import EpochExporter
            EpochExporter(xp, options, log)
        result = None if mode == "only" else self._run(ours)
        if mode:
            _finish(xp, mode == "only", options)
        return result

    def _run(self, ours: Sequence[str]) -> Any:
        """Run the main with what `export` and `exporter` have come to, in the place of how they were written."""
        argv = list(sys.argv)
        last = max((at for at, arg in enumerate(argv) if at and is_override(arg)), default=len(argv) - 1)
        sys.argv[1:] = [*split(argv[1:last + 1])[1], *ours, *argv[last + 1:]]
        try:
            return super()._main()  # type: ignore[no-untyped-call]
        finally:
            sys.argv[:] = argv

    def _refuse_drift(self, own: Sequence[str], others: Sequence[str]) -> None:
        """With `-f SIG export=only`, refuse where today's configuration makes another experiment of SIG."""
        sig, stored = self._from or ("", [])
        if not sig or list(others[:len(stored)]) != stored or self._keys(self._base_cfg, own)[EXPORT] != "only":
            return
        try:
            found = super().get_xp(stored).sig
        except (HydraException, OmegaConfBaseException, AssertionError):
            found = "none at all"
        if found != sig:
            from .recovery import command_line
            raise ExperimentError(f"The training configuration has changed since XP {sig}: its command line gives "
                                  f"{found} today. Export the files of its day: "
                                  f"{command_line(self.dora.dir / self.dora.xps / sig, sig)}")


def _as_overrides(cfg: DictConfig) -> list[str]:
    exporter = OmegaConf.to_container(cfg[EXPORTER], resolve=False)
    return [f"++{EXPORT}={quoted(cfg[EXPORT])}", f"++{EXPORTER}={quoted(exporter)}"]


def _finish(xp: XP, only: bool, options: ExportOptions) -> None:
    idle = None if only else _trains_nothing(xp.cfg)
    if idle:
        log(f"nothing was trained ({idle}), so nothing is exported.")
        return
    from ..pipeline.export import export_experiment
    from .recovery import after_training
    try:
        if not (is_rank_zero() if only else barrier_is_rank_zero()):
            return
        # ExportMixin leaves its report here. What it made of a living solver cannot be made again from the disk.
        made: Optional[ExportReport] = getattr(xp, "export_report", None)
        report = made if made and made.manifest.checkpoint is None else \
            export_experiment(Experiment(xp.folder, xp.sig), options)
    except ExportError as exc:
        fatal(str(exc if only else after_training(exc, xp.sig, xp.folder, options)))
    if made is None or report.written and report is not made:
        log(report)


def _trains_nothing(cfg: DictConfig) -> Optional[str]:
    """The key by which AudioCraft's main trains nothing, if it has one."""
    keys = ("show", "execute_only")
    if not all(key in cfg for key in keys):
        return None
    return next((f"{key}={cfg[key]}" for key in keys if cfg[key]), None)
