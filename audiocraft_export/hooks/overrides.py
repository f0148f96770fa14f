"""Read the keys `export` and `exporter` of a Hydra configuration and of a command line."""

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Union

from dora.git_save import to_absolute_path
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ..errors import OptionError
from ..experiment.config import to_container
from ..options import EXPORT, EXPORTER, PATHS, ExportOptions

Mode = Union[bool, str]  # value of `export`: false, true or only
MODES: Mapping[str, Mode] = {  # overrides that are read without Hydra
    f"{plus}{EXPORT}={text}": mode
    for plus in ("", "+", "++") for text, mode in (("false", False), ("true", True), ("only", "only"))}


def read_keys(cfg: DictConfig) -> tuple[Mode, dict[Any, Any]]:
    """Return `export` and the unresolved values of `exporter` of a configuration.

    Raises:
        OptionError: if a key has an invalid value, for example because the project uses it for something else.
    """
    try:
        mode = cfg.get(EXPORT)
    except OmegaConfBaseException as exc:
        raise OptionError("unresolved-option", f"Cannot resolve the interpolation in export ({type(exc).__name__})",
                          "use false, true or only") from exc
    if not isinstance(mode, bool) and mode not in (None, "only"):
        raise OptionError("config-group-conflict" if OmegaConf.is_config(mode) else "invalid-option",
                          f"Invalid value {mode!r} for export: expected false, true or only",
                          "rename the key of the project" if OmegaConf.is_config(mode) else "")
    exporter = exporter_values(cfg.get(EXPORTER))
    ExportOptions.check_names(exporter)
    return mode or False, exporter


def read_options(cfg: DictConfig) -> tuple[Mode, ExportOptions]:
    """Return `export` and the options under `exporter`, resolved, of a configuration that has both.

    Raises:
        OptionError: if a value is invalid or cannot be resolved.
    """
    mode, _ = read_keys(cfg)
    try:
        values: Any = OmegaConf.to_container(cfg[EXPORTER], resolve=True, throw_on_missing=True, enum_to_str=True)
    except MissingMandatoryValue as exc:
        raise OptionError("unresolved-option", f"{exc.full_key or EXPORTER} is mandatory (???) and has no value",
                          f"add {exc.full_key or EXPORTER}=VALUE to the command line") from exc
    except (OmegaConfBaseException, ValueError) as exc:
        where = getattr(exc, "full_key", None) or EXPORTER
        is_unset = "Environment variable" in str(exc)  # of ${oc.env:NAME}
        raise OptionError("unresolved-option", f"Cannot resolve the interpolation in {where} ({type(exc).__name__})",
                          "set the environment variable" if is_unset else "write the value itself") from exc
    return mode, ExportOptions.from_mapping(values)


def with_absolute_paths(options: ExportOptions) -> ExportOptions:
    """Return the options with absolute paths, without `~`, because Hydra may change the current folder."""
    paths = {name: to_absolute_path(os.path.expanduser(value)) for name in PATHS if (value := getattr(options, name))}
    return options.replace(**paths)


def exporter_values(node: Any) -> dict[Any, Any]:
    """Return the unresolved values of an `exporter` node in any kind of configuration; empty if it is null.

    Raises:
        OptionError: if the node is not a mapping.
    """
    values = to_container(node)
    if not isinstance(values, (dict, type(None))):
        raise OptionError("invalid-option", f"Invalid value {values!r} for exporter: expected a mapping of options",
                          "rename the key, if the project uses exporter for something else")
    return values or {}


def exporter_arguments(cfg: Any) -> dict[str, Any]:
    """Return the options that are arguments of argparse, such as `--exporter.dtype`; None means not given."""
    arguments = vars(cfg) if isinstance(cfg, Namespace) else {}
    return {name.partition(".")[2]: value for name, value in arguments.items()
            if name.startswith(f"{EXPORTER}.") and value is not None}


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the overrides of `export` and `exporter`, and all other arguments."""
    own = [arg for arg in argv if is_override(arg) and key_of(arg).partition(".")[0] in (EXPORT, EXPORTER)]
    return own, [arg for arg in argv if arg not in own]


def key_of(override: str) -> str:
    """Return the dotted key, or the config group, that an override sets."""
    return override.partition("=")[0].strip().lstrip("+")


def is_override(arg: str) -> bool:
    """Return whether an argument of a command line is an override rather than a flag."""
    return "=" in arg and not arg.startswith("-")


def quote(value: Any) -> str:
    """Quote a value for use in a Hydra override."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {quote(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(quote, value)) + "]"
    if isinstance(value, (str, os.PathLike)):
        return QuotedString(os.fspath(value), Quote.single).with_quotes()
    return json.dumps(value)
