"""`with_export` wraps a Dora main over Hydra, so that `export=true` exports when the main returns.

This is not a Hydra callback, because Hydra turns exceptions in callbacks into warnings and exits with code 0.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Optional

from dora.hydra import HydraMain
from dora.main import _load_main, get_module_name
from dora.xp import XP, get_xp, is_xp
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from hydra.plugins.config_source import ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ..errors import ExperimentError, ExportError, OptionError, coded_warning, listing, show_warning
from ..experiment.xp import Experiment
from ..options import EXPORT, EXPORTER, ExportOptions
from ..requirements import transformers_problem
from ..storage.file_version import file_version
from .after_success import after_success
from .distributed import barrier_is_rank_zero, is_rank_zero
from .messages import fatal_errors, log, log_error
from .overrides import (
    MODES,
    exporter_values,
    is_override,
    key_of,
    quote,
    read_keys,
    read_options,
    split_overrides,
    with_absolute_paths,
)
from .recovery import export_command, failure_after_training
from .safe_globals import allow_config_classes
from .xp_state import xp_state

PROVIDER = "audiocraft-export"
SEARCHPATH = "hydra.searchpath"
SIGN = f"{EXPORTER}.sign"
# Written to `xp.cfg` and to Hydra's overrides instead of the real values: both are stored in files, which must not have
# the path of a key.
UNSIGNED = {"sign": None, "attest": False}


def with_export(main: HydraMain, module: Optional[str] = None) -> HydraMain:
    """Add the keys `export` and `exporter` to a Dora main over Hydra; they do not change the signature.

    With `export=true`, rank zero exports the XP when `main` returns or exits with code 0. With `export=only`, the
    stored XP is exported without running `main`.

    Args:
        main: a function decorated with `@dora.hydra_main`.
        module: full name of the module that has the wrapped main as its attribute `main`, if it is not the module of
            `main`. DDP workers and Slurm jobs import it.

    Returns:
        The wrapped main.

    Raises:
        OptionError: if `main` is not a Dora main over Hydra.
    """
    if not isinstance(main, HydraMain):
        raise OptionError("unsupported-main",
                          f"with_export expects a function decorated with @dora.hydra_main, got {main!r}",
                          "write @with_export above @hydra_main; for an argparse main, let the solver inherit from "
                          "ExportMixin")
    # A project may subclass HydraMain, or pass a main that is wrapped already.
    bases = (type(main),) if isinstance(main, ExportingMain) else (ExportingMain, type(main))
    wrapped: HydraMain = type("ExportingMain", bases, {})(main)
    name = module and get_module_name(module)  # type: ignore[no-untyped-call]
    if name:
        package, _, wrapped.main_module = name.rpartition(".")
        wrapped.package = package or "unknown"
        wrapped._full_name = f"{name}.main"
    return wrapped


class ExportSearchPath(SearchPathPlugin):
    """Add the config group `exporter` to Hydra's search path, after all folders of the project."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the config folder of this package."""
        package = Path(__file__).parents[1]
        folder = package / "config" if (package / "config").is_dir() else package.parent / "config"
        search_path.append(PROVIDER, f"file://{folder}")


# Registered on import: the defaults of a project, which `hydra_main` composes, may choose from the group.
Plugins.instance().register(ExportSearchPath)


class ExportingMain(HydraMain):
    """A Dora main that exports, and otherwise behaves as the main that it wraps.

    Copies the attributes of the wrapped main instead of composing its configuration again: projects change them after
    decoration (AudioCraft changes its Slurm settings).
    """

    def __init__(self, main: HydraMain) -> None:
        vars(self).update(vars(main))
        self.dora.exclude = [*self.dora.exclude, EXPORT, EXPORTER, f"{EXPORTER}.*"]
        self._config_groups = [*(group for group in self._config_groups if group != EXPORTER), EXPORTER]
        self._requested: tuple[str, list[str]] = "", []  # the signature of `-f SIG`, and its stored overrides

    def __reduce__(self) -> Any:
        """Pickle this main by name; Slurm jobs and the processes of `dora grid` import it."""
        module = f"{self.package}.{self.main_module}"
        is_main = getattr(sys.modules.get(module), "main", None) is self
        return _load_main, (f"{module}.main" if is_main else self._full_name,)

    def get_argv_from_sig(self, sig: str) -> Sequence[str]:
        """Return the stored overrides of an XP, which Dora needs for `-f SIG`."""
        argv = list(super().get_argv_from_sig(sig))
        self._requested = sig, argv
        return argv

    def value_to_argv(self, arg: Any) -> list[str]:
        """Return the overrides of a grid; a dictionary for `exporter` is a value, not a config group."""
        if isinstance(arg, dict) and isinstance(arg.get(EXPORTER), dict):
            arg = [f"{key}={quote(value)}" if key == EXPORTER else {key: value} for key, value in arg.items()]
        return list(super().value_to_argv(arg))

    @fatal_errors()
    def get_xp(self, argv: Sequence[str]) -> XP:
        """Return the XP of a command line; `export` and `exporter` enter its configuration, not its signature.

        Raises:
            SystemExit: if `export` or `exporter` is invalid.
        """
        own, others = split_overrides(argv)
        self._refuse_drift(argv, others)
        xp: XP = super().get_xp(others)
        keys = self._compose_keys(xp.cfg, argv)
        if read_keys(keys)[0] == "only" and "--clear" in sys.argv:
            raise OptionError("conflicting-options", "--clear would remove the experiment that export=only exports",
                              "omit --clear")
        with open_dict(xp.cfg):
            for key in keys:  # an update would check the types of a structured configuration
                xp.cfg.pop(key, None)
            xp.cfg.update(keys)
            _, options = read_options(xp.cfg)  # interpolations can be resolved only in the whole configuration
            if options.sign is not None:
                absolute = with_absolute_paths(options)  # a notebook may change its folder before the export
                xp_state(xp).signing = {name: getattr(absolute, name) for name in UNSIGNED}
                xp.cfg[EXPORTER] = {**exporter_values(keys[EXPORTER]), **UNSIGNED}
        xp.argv = [*xp.argv, *own]  # Dora passes it to Slurm jobs
        return xp

    @fatal_errors()
    def init_xp(self, xp: XP) -> XP:
        """Create the XP folder; `export` and `exporter` are not stored with its overrides.

        Raises:
            SystemExit: with `export=only`, if there is nothing to export.
        """
        mode, options = read_options(xp.cfg)
        if mode == "only":
            Experiment(xp.folder, xp.sig).checkpoint(options.checkpoint)
            return xp
        stored = copy(xp)
        stored.argv = split_overrides(xp.argv)[1]
        super().init_xp(stored)
        return xp

    def _main(self) -> Any:
        if not is_xp():  # Dora has no XP in a multirun of Hydra
            with fatal_errors():
                keys = self._compose_keys(self._base_cfg, sys.argv[1:])
                read_keys(keys)
            if keys[EXPORT]:
                log("a multirun has no XP, so nothing is exported")
            return self._run(_as_overrides(keys, has_key=bool(exporter_values(keys[EXPORTER]).get("sign"))))
        xp = get_xp()
        mode, options = read_options(xp.cfg)
        options = options.replace(**xp_state(xp).signing)
        overrides = _as_overrides(xp.cfg, has_key=options.sign is not None)
        # Solvers store the configuration of their XP in checkpoints, where these keys must not appear.
        xp_state(xp).keys = {EXPORT: mode, EXPORTER: asdict(options)}
        with open_dict(xp.cfg):
            del xp.cfg[EXPORT], xp.cfg[EXPORTER]
        options = with_absolute_paths(options)
        if mode == "only":
            return _export_without_training(xp, options)
        if mode is not True:
            _warn_of_unused_options(split_overrides(sys.argv[1:])[0])
            return self._run(overrides)
        from .first_stage import check_first_stage  # imports flashy, which a start without export does not need
        _prepare_export(xp, options)
        with after_success(partial(_export_after_training, xp, options)), check_first_stage(options):
            return self._run(overrides)

    def _run(self, own: Sequence[str]) -> Any:
        """Run the wrapped main, with `own` instead of the overrides of `export` and `exporter` on the command line."""
        allow_config_classes()
        if EXPORTER in self._base_cfg and self._base_cfg[EXPORTER] is None:  # its type may not allow single options
            own = [override for override in own if key_of(override) == EXPORT]
        argv = list(sys.argv)
        last = max((at for at, arg in enumerate(argv) if at and is_override(arg)), default=len(argv) - 1)
        sys.argv[1:] = [*split_overrides(argv[1:last + 1])[1], *own, *argv[last + 1:]]
        try:
            return super()._main()  # type: ignore[no-untyped-call]
        finally:
            sys.argv[:] = argv

    def _compose_keys(self, project: DictConfig, argv: Sequence[str]) -> DictConfig:
        """Compose `export` and `exporter` from the defaults, the configuration of the project and a command line."""
        if any(group.partition("/")[0] == EXPORT for group in self._config_groups):
            raise OptionError("config-group-conflict", "The project has a config group named export, a key that "
                              "audiocraft-export needs", "rename the group")
        mode, exporter = read_keys(project)
        own, others = split_overrides(argv)
        keys = [key_of(arg) for arg in own]
        searchpath = [arg for arg in others if key_of(arg) == SEARCHPATH] or self._searchpath
        ExportOptions.check_names(key[len(EXPORTER) + 1:] for key in keys if key.startswith(f"{EXPORTER}."))
        if all(arg in MODES for arg in own) and not searchpath and not self._has_exporter_group():  # composing is slow
            mode = MODES[own[-1]] if own else mode
            return OmegaConf.create({EXPORT: mode, EXPORTER: {**asdict(ExportOptions()), **exporter}})
        overrides = [*searchpath, f"+{EXPORT}={quote(mode)}", f"+{EXPORTER}=default"]
        if EXPORTER not in keys:  # a config that the user chooses replaces the values of the project
            overrides += [f"{EXPORTER}.{name}={quote(value)}" for name, value in exporter.items()]
        # `++`, because a config of the project may have only some of the options; their names are valid.
        overrides += [("++" if key.startswith(f"{EXPORTER}.") else "") + arg.lstrip("+") for arg, key in zip(own, keys)]
        return self._compose(overrides, own)

    def _compose(self, overrides: Sequence[str], own: Sequence[str]) -> DictConfig:
        try:
            with self._hydra():
                return compose(None, [*overrides])
        except (HydraException, ValueError) as exc:
            raise _composition_error(exc, own) from None  # a traceback would show the value of `sign`

    def _has_exporter_group(self) -> bool:
        """Return whether the project or a plugin has a config group `exporter`."""
        with self._hydra():
            return any(source.is_group(EXPORTER) for source in _config_sources() if source.provider != PROVIDER)

    @cached_property
    def _searchpath(self) -> list[str]:
        """`hydra.searchpath` of the project's primary config as an override, which composing without it needs."""
        name = self.config_name
        with self._hydra():
            found = [source.load_config(name).config for source in _config_sources() if source.is_config(name)]
        folders = OmegaConf.select(found[0], SEARCHPATH) if found else None
        return [f"{SEARCHPATH}={quote([*folders])}"] if folders else []

    def _hydra(self) -> AbstractContextManager[Any]:
        """Initialize Hydra with the config folder of the project."""
        return initialize_config_dir(str(self.full_config_path), job_name=self._job_name, **self.hydra_kwargs)

    def _refuse_drift(self, argv: Sequence[str], others: Sequence[str]) -> None:
        """With `-f SIG export=only`, check that the overrides of SIG still give the signature SIG.

        Raises:
            ExperimentError: if the configuration of the project was changed since then.
        """
        sig, stored = self._requested
        is_requested = sig and list(others[:len(stored)]) == stored
        if not is_requested or self._compose_keys(self._base_cfg, argv)[EXPORT] != "only":
            return
        try:
            found = super().get_xp(stored).sig
        except (HydraException, OmegaConfBaseException, AssertionError):
            found = None
        if found != sig:
            xp = Experiment(self.dora.dir / self.dora.xps / sig, sig)
            now = f"now give signature {found}" if found else "can no longer be composed"
            raise ExperimentError("experiment-changed", f"The training configuration has changed since XP {sig}: its "
                                  f"stored overrides {now}", f"export the stored files with: {export_command(xp)}")


def _composition_error(exc: Exception, own: Sequence[str]) -> OptionError:
    """Return the error for overrides that Hydra cannot compose, without the value of `sign`."""
    text = str(exc).split("Config search path")[0].split("\nSee ")[0]
    text = text.removeprefix("In '_dummy_empty_config_': ")  # Hydra's name for composing without a file
    text, _, available = text.partition("\nAvailable options in")  # followed by one name per line
    what = " ".join(f"{SIGN}=..." if key_of(arg) == SIGN else arg for arg in own if arg not in MODES) or EXPORTER
    for value in filter(None, (arg.partition("=")[2] for arg in own if key_of(arg) == SIGN)):
        text = text.replace(value, "...") if isinstance(exc, ConfigCompositionException) else "invalid value"
    names = available.partition(":")[2].split()
    hint = f"use one of {', '.join(names)}" if names else ""
    if isinstance(exc, OverrideParseException):
        hint = "quote the value twice if it has special characters: 'KEY=\"~/release\"'"
    return OptionError("invalid-override", f"Hydra cannot compose {what}: {' '.join(text.split())}", hint)


def _config_sources() -> list[ConfigSource]:
    return GlobalHydra.instance().config_loader().get_sources()


def _as_overrides(cfg: DictConfig, has_key: bool) -> list[str]:
    """Return the overrides that set `export` and `exporter` to their values in a configuration, without a key."""
    values = {**exporter_values(cfg[EXPORTER]), **UNSIGNED}
    if has_key:  # in a structured configuration of the project, its type may not allow null
        values["sign"] = ""
    # One by one, because such a configuration may have only some of the options.
    options = [f"++{EXPORTER}.{name}={quote(value)}" for name, value in values.items()]
    return [f"++{EXPORT}={quote(cfg[EXPORT])}", *options]


def _warn_of_unused_options(own: Sequence[str]) -> None:
    """Log a warning if a command line has options, but `export` is false and not on it."""
    keys = [key_of(arg) for arg in own]
    if keys and EXPORT not in keys and is_rank_zero():
        log(show_warning(coded_warning("unused-options", f"{listing(keys)} without export=true: nothing will be "
                                       "exported")))


@fatal_errors()
def _prepare_export(xp: XP, options: ExportOptions) -> None:
    """Check the export before its training, and set up exports during the training if they are configured."""
    if is_rank_zero() and (problem := transformers_problem()):
        log_error(problem)
    if _trains_nothing(xp.cfg):
        return
    from ..pipeline.preflight import check_before_training
    check_before_training(Experiment(xp.folder, xp.sig), xp.cfg, options)
    if options.when != "end" and is_rank_zero():
        from .during_training import EpochExporter
        EpochExporter(xp, options, log)


@fatal_errors()
def _export_without_training(xp: XP, options: ExportOptions) -> None:
    from ..pipeline.export import export_experiment
    if is_rank_zero():
        log(export_experiment(Experiment(xp.folder, xp.sig), options))


@fatal_errors()
def _export_after_training(xp: XP, options: ExportOptions) -> None:
    from ..pipeline.export import export_experiment
    from ..pipeline.previous_scrub import keep_scrub
    if idle := _trains_nothing(xp.cfg):
        log(f"nothing was trained ({idle}), so nothing is exported")
        return
    experiment = Experiment(xp.folder, xp.sig)
    state = xp_state(xp)
    done, path = state.report, experiment.checkpoint_path(options.checkpoint)
    try:
        if not barrier_is_rank_zero():
            return
        # ExportMixin knows more than the checkpoint says, and may have exported the solver in memory.
        if done and (done.manifest.checkpoint is None or state.exported == file_version(path)):
            return
        options = keep_scrub(options.release_folder(xp.folder), options)
        rule, state.best_rule = state.best_rule and state.best_rule(options), None
        report = export_experiment(experiment, options, rule=rule)
    except ExportError as exc:
        raise failure_after_training(exc, experiment, options) from exc
    if report.written or not done:
        log(report)


def _trains_nothing(cfg: DictConfig) -> Optional[str]:
    """Return the setting that keeps AudioCraft's main from training; None if it trains."""
    keys = ("show", "execute_only")
    if not all(key in cfg for key in keys):
        return None
    return next((f"{key}={cfg[key]}" for key in keys if cfg[key]), None)
