"""`export` and `exporter` as Hydra has them: in a configuration and on a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Union

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import OptionError
from ..experiment.config import to_container
from ..options import ExportOptions

EXPORT, EXPORTER = "export", "exporter"
MODES: Mapping[str, Union[bool, str]] = {  # the overrides that need no grammar
    f"{plus}{EXPORT}={text}": mode
    for plus in ("", "+", "++") for text, mode in (("false", False), ("true", True), ("only", "only"))}


def read_project(cfg: DictConfig) -> tuple[Union[bool, str], dict[Any, Any]]:
    """What a project's own configuration says of `export` and `exporter`, unresolved.

    Raises:
        OptionError: if it uses these keys for something else.
    """
    try:
        mode = False if EXPORT not in cfg or cfg[EXPORT] is None else cfg[EXPORT]
    except OmegaConfBaseException as exc:
        raise OptionError(f"export cannot be resolved ({type(exc).__name__}): use false, true or only.") from exc
    if not isinstance(mode, bool) and mode != "only":
        raise OptionError(f"export={mode} is no option: use false, true or only; a project that has a key export of "
                          "its own must rename it.")
    exporter = ExportOptions.mapping_of(to_container(cfg[EXPORTER]) if EXPORTER in cfg else None)
    ExportOptions.check_names(exporter)
    return mode, exporter


def read(cfg: DictConfig) -> tuple[Union[bool, str], ExportOptions]:
    """What `export` and `exporter` have come to.

    Raises:
        OptionError: if that is no option.
    """
    mode, _ = read_project(cfg)
    try:
        values = OmegaConf.to_container(cfg[EXPORTER], resolve=True)
    except (OmegaConfBaseException, ValueError) as exc:
        raise OptionError(f"An interpolation under exporter cannot be resolved ({type(exc).__name__}): write the value "
                          "itself.") from exc
    return mode, ExportOptions.from_mapping(dict(values))  # type: ignore[arg-type]


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line as the overrides of `export` and `exporter`, and all others."""
    own = [arg for arg in argv if is_override(arg) and key_of(arg).partition(".")[0] in (EXPORT, EXPORTER)]
    return own, [arg for arg in argv if arg not in own]


def key_of(override: str) -> str:
    """The dotted key, or the config group, that an override sets."""
    return override.partition("=")[0].strip().lstrip("+")


def is_override(arg: str) -> bool:
    """Whether an argument of a command line is an override and no flag."""
    return "=" in arg and not arg.startswith("-")


def quoted(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {quoted(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        text = re.sub(r"(\\*)'", r"\1\1\\'", value)
        return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"
    return json.dumps(value)
