"""The keys `export` and `exporter` in a Hydra configuration and on a command line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Union

from dora.git_save import to_absolute_path
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import OptionError
from ..experiment.config import OWN_KEYS, to_container
from ..options import ExportOptions

EXPORT, EXPORTER = OWN_KEYS
Mode = Union[bool, str]  # the value of `export`: false, true or only
MODES: Mapping[str, Mode] = {  # the overrides that can be read without Hydra
    f"{plus}{EXPORT}={text}": mode
    for plus in ("", "+", "++") for text, mode in (("false", False), ("true", True), ("only", "only"))}


def read_keys(cfg: DictConfig) -> tuple[Mode, dict[Any, Any]]:
    """Read `export` and `exporter` from a configuration; `exporter` unresolved.

    Raises:
        OptionError: if the project uses these keys for something else.
    """
    try:
        mode = cfg.get(EXPORT)
    except OmegaConfBaseException as exc:
        raise OptionError(f"export cannot be resolved ({type(exc).__name__}): use false, true or only.") from exc
    if not isinstance(mode, bool) and mode not in (None, "only"):
        raise OptionError(f"export={mode} is no option: use false, true or only; a project that has a key export of "
                          "its own must rename it.")
    exporter = exporter_values(cfg.get(EXPORTER))
    ExportOptions.check_names(exporter)
    return mode or False, exporter


def read_options(cfg: DictConfig) -> tuple[Mode, ExportOptions]:
    """Read `export` and `exporter` from a configuration that has both, resolved.

    Raises:
        OptionError: if a value is invalid.
    """
    mode, _ = read_keys(cfg)
    try:
        values: Any = OmegaConf.to_container(cfg[EXPORTER], resolve=True)
    except (OmegaConfBaseException, ValueError) as exc:
        raise OptionError(f"An interpolation under exporter cannot be resolved ({type(exc).__name__}): write the value "
                          "itself.") from exc
    return mode, ExportOptions.from_mapping(values)


def with_absolute_paths(options: ExportOptions) -> ExportOptions:
    """Options whose paths do not depend on the current folder, which Hydra may change."""
    paths = {name: to_absolute_path(str(value)) for name in ("folder", "config") if (value := getattr(options, name))}
    return options.replace(**paths)


def exporter_values(node: Any) -> dict[Any, Any]:
    """The values under `exporter`, of any kind of configuration, unresolved; empty for null.

    Raises:
        OptionError: if it is not a mapping.
    """
    values = to_container(node)
    if not isinstance(values, (dict, type(None))):
        raise OptionError(f"exporter={values} is no option: it takes the options of ExportOptions as a mapping.")
    return values or {}


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the overrides of `export` and `exporter`, and everything else."""
    own = [arg for arg in argv if is_override(arg) and key_of(arg).partition(".")[0] in (EXPORT, EXPORTER)]
    return own, [arg for arg in argv if arg not in own]


def key_of(override: str) -> str:
    """The dotted key, or the config group, that an override sets."""
    return override.partition("=")[0].strip().lstrip("+")


def is_override(arg: str) -> bool:
    """Whether an argument of a command line is an override, and not a flag."""
    return "=" in arg and not arg.startswith("-")


def quote(value: Any) -> str:
    """Write a value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {quote(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return json.dumps(value)
