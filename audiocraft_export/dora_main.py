"""Host: `with_export` wraps a Dora main over Hydra, so that `export=true` exports when it returns.

This is no Hydra callback: an exception in one of those becomes a warning and exit code 0.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

from dora.distrib import get_distrib_spec
from dora.git_save import to_absolute_path
from dora.hydra import HydraMain
from dora.log import fatal, simple_log
from dora.xp import XP, get_xp, is_xp
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .errors import ExperimentError, ExportError, OptionError
from .experiment import Experiment
from .export import after_training, export_experiment
from .options import ExportOptions

EXPORT, EXPORTER = "export", "exporter"
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
    wrapped = ExportingMain(main)
    if module is not None:
        wrapped.package, wrapped.main_module = module.rsplit(".", 1)
        wrapped._full_name = f"{module}.main"
    return wrapped


class ExportSearchPath(SearchPathPlugin):
    """Lets Hydra find the config group `exporter`, after all folders of the project."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the config folder of this package."""
        package = Path(__file__).parent
        folder = package / "config" if (package / "config").is_dir() else package.parent / "config"
        search_path.append("audiocraft-export", f"file://{folder}")


class ExportingMain(HydraMain):
    """A Dora main that exports; everything else is that of the main it was made of.

    Args:
        main: whose place it takes. Its configuration is not composed again, because projects change it
            after decoration (AudioCraft its Slurm settings).
    """

    def __init__(self, main: HydraMain) -> None:
        vars(self).update(vars(main))
        self.dora.exclude = [*self.dora.exclude, EXPORT, EXPORTER, f"{EXPORTER}.*"]
        self._project_groups = list(self._config_groups)
        self._config_groups = [*self._project_groups, EXPORTER]
        self._bases: dict[tuple[str, ...], Any] = {}
        self._from: Optional[tuple[str, Sequence[str]]] = None
        Plugins.instance().register(ExportSearchPath)

    def get_argv_from_sig(self, sig: str) -> Sequence[str]:
        """The stored command line of an XP, as Dora asks for it with `-f SIG`."""
        argv: Sequence[str] = super().get_argv_from_sig(sig)
        self._from = sig, argv
        return argv

    def get_xp(self, argv: Sequence[str]) -> XP:
        """The XP of a command line.

        Raises:
            SystemExit: if `export` or `exporter` is wrong there, after one sentence, as Dora does it.
        """
        try:
            if EXPORT in self._project_groups:
                raise OptionError("This project has a config group named export, a key that audiocraft-export needs: "
                                  "rename the group.")
            ExportOptions.check_names(_key(arg)[len(EXPORTER) + 1:] for arg in argv
                                      if _key(arg).startswith(f"{EXPORTER}."))
            self._refuse_drift(argv)
            xp: XP = super().get_xp(argv)
            _read(xp.cfg)
        except ExportError as exc:
            fatal(str(exc))
        except HydraException as exc:
            if EXPORT not in str(exc):
                raise
            fatal(" ".join(str(exc).split("Config search path")[0].split()))
        return xp

    def init_xp(self, xp: XP) -> XP:
        """Create the XP folder; the command line stored in it is the one without the keys of this package."""
        if _read(xp.cfg)[0] != "only":
            stored = copy(xp)
            stored.argv = [arg for arg in xp.argv if not _is_own(arg)]
            super().init_xp(stored)
        return xp

    def _get_base_config(self, overrides: Sequence[str] = ()) -> tuple[DictConfig, list[tuple[str, str]]]:
        """As Dora's, but composed only once for the same groups, and never with the keys of this package."""
        groups = tuple(arg for arg in overrides if _key(arg) in self._project_groups and not _is_own(arg))
        if groups not in self._bases:
            self._bases[groups] = super()._get_base_config(list(groups))
        base, delta = self._bases[groups]
        return base, list(delta)

    def _get_config(self, overrides: Sequence[str] = ()) -> DictConfig:
        return super()._get_config([*self._missing(overrides), *overrides])

    def _missing(self, overrides: Sequence[str]) -> list[str]:
        """Overrides that add what neither the project's own configuration nor the user defines."""
        own = [arg for arg in overrides if not _is_own(arg)]
        appends = any(_key(arg) in self._project_groups and arg.startswith("+") for arg in own)
        project = super()._get_config(own) if appends else self._get_base_config(own)[0]
        appended = [_key(arg) for arg in overrides if arg.startswith("+")]
        missing = [] if EXPORT in project or EXPORT in appended else [f"+{EXPORT}=false"]
        if EXPORTER in appended:
            return missing
        if EXPORTER not in project:
            return [*missing, f"+{EXPORTER}=default"]
        if not isinstance(project[EXPORTER], DictConfig) or EXPORTER in map(_key, overrides):
            return missing
        defaults = {f"{EXPORTER}.{name}": value for name, value in asdict(ExportOptions()).items()
                    if name not in project[EXPORTER]}
        return [*missing, *(f"+{key}={'null' if value is None else value}" for key, value in defaults.items()
                            if key not in appended)]

    def _main(self) -> Any:
        if not is_xp():  # a multirun of Hydra, which Dora does not follow
            return self._run(self._missing(()))
        xp = get_xp()
        mode, options = _read(xp.cfg)
        result = None if mode == "only" else self._run(self._missing(xp.argv))
        if mode and get_distrib_spec().rank == 0:  # type: ignore[no-untyped-call]
            _finish(xp, mode == "only", options)
        return result

    def _run(self, missing: list[str]) -> Any:
        argv = list(sys.argv)
        first = next((at for at, arg in enumerate(argv) if at and _is_override(arg)), len(argv))
        sys.argv[first:first] = missing
        try:
            return super()._main()  # type: ignore[no-untyped-call]
        finally:
            sys.argv[:] = argv

    def _refuse_drift(self, argv: Sequence[str]) -> None:
        """With `-f SIG export=only`, refuse where today's configuration makes another experiment of SIG."""
        if self._from is None or f"{EXPORT}=only" not in argv:
            return
        sig, stored = self._from
        try:
            found = super().get_xp(stored).sig
        except (HydraException, OmegaConfBaseException, AssertionError):
            found = "none at all"
        if found != sig:
            raise ExperimentError(f"The training configuration has changed since XP {sig}: its command line gives "
                                  f"{found} today; export the files of its day with: "
                                  f"audiocraft-export run {sig} --dora-dir {self.dora.dir}")


def _finish(xp: XP, only: bool, options: ExportOptions) -> None:
    idle = None if only else _trains_nothing(xp.cfg)
    if idle:
        log(f"nothing was trained ({idle}), so nothing is exported.")
        return
    if options.folder is not None:
        options = options.replace(folder=to_absolute_path(str(options.folder)))
    try:
        # Left by ExportMixin, if the solver has it: the release is made already.
        report = getattr(xp, "export_report", None) or export_experiment(Experiment(xp.folder, xp.sig), options)
    except ExportError as exc:
        fatal(str(exc if only else after_training(exc, xp.sig, xp.folder, xp.dora.dir)))
    log(report)


def _read(cfg: DictConfig) -> tuple[Union[bool, str], ExportOptions]:
    """What a configuration says of `export` and `exporter`.

    Raises:
        OptionError: if that is no option.
    """
    mode, exporter = cfg.get(EXPORT, False), cfg.get(EXPORTER) or OmegaConf.create()
    if not isinstance(mode, bool) and mode != "only":
        raise OptionError(f"export={mode} is no option: use false, true or only; a project that has a key export of "
                          "its own must rename it.")
    try:
        values = OmegaConf.to_container(exporter, resolve=True)
    except (OmegaConfBaseException, ValueError) as exc:
        raise OptionError(f"exporter is not readable ({type(exc).__name__}): it takes the options of "
                          "ExportOptions as a mapping.") from exc
    if not isinstance(values, dict):
        raise OptionError(f"exporter={values} is no option: it takes the options of ExportOptions as a mapping.")
    return mode, ExportOptions.from_mapping(values)


def _trains_nothing(cfg: DictConfig) -> Optional[str]:
    """The key by which AudioCraft's main trains nothing, if it has one."""
    keys = ("show", "execute_only")
    if not all(key in cfg for key in keys):
        return None
    return next((f"{key}={cfg[key]}" for key in keys if cfg[key]), None)


def _key(override: str) -> str:
    return override.partition("=")[0].strip().lstrip("+~")


def _is_override(arg: str) -> bool:
    return "=" in arg and not arg.startswith("-")


def _is_own(override: str) -> bool:
    return _key(override).partition(".")[0].partition("@")[0] in (EXPORT, EXPORTER)
