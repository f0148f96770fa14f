"""Hold the configuration of an experiment (`xp.cfg`) as plain data and as YAML, and resolve its values."""

from __future__ import annotations

import errno
import re
from argparse import Namespace
from collections.abc import Collection, Mapping
from contextlib import suppress
from copy import copy
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import AliasEvent, ScalarNode, YAMLError

from ..errors import CheckpointError, permission_hint, reason
from ..options import EXPORT, EXPORTER
from .interpolation import is_endless, without_resolvers
from .limits import MAX_INTERPOLATIONS, MAX_YAML_BRACKETS, MAX_YAML_CHARS, MAX_YAML_MARKS
from .yaml_tags import without_tags

# Exceptions of PyYAML for a value that does not match its tag, such as `!!int ''`, or a number with too many digits.
YAML_ERRORS = (YAMLError, ValueError, AttributeError, LookupError, OverflowError, TypeError)
_WRITE_VALUE = "write the value itself into the configuration of the training"
_CHOICE = re.compile(r"\$\{hydra:runtime\.choices\.([\w./@-]+)\}")


class Config:
    """The configuration of an XP: plain data with unresolved interpolations, without the keys of this package.

    Raises:
        CheckpointError: if OmegaConf does not support a value, or the configuration is too large or nested too deeply.
    """

    def __init__(self, values: Mapping[Any, Any]) -> None:
        self.values = {key: value for key, value in values.items()
                       if key not in (EXPORT, EXPORTER) and not str(key).startswith(f"{EXPORTER}.")}
        self._resolvers: Collection[str] = ("oc.env",)  # those that `get` runs
        self.choices: Mapping[str, str] = {}  # Hydra's choices for config groups; they are never released
        try:
            self.text: str = OmegaConf.to_yaml(OmegaConf.create(self.values))
        except RecursionError:
            raise CheckpointError("invalid-config", "The configuration (xp.cfg) is nested too deeply") from None
        except (OmegaConfBaseException, YAMLError, ValueError) as exc:  # ValueError: a number with too many digits
            raise CheckpointError("unsupported-config-value",
                                  f"The configuration (xp.cfg) cannot be written as YAML: {reason(exc)}",
                                  "use only numbers, strings, lists and mappings") from exc
        _check_yaml_size(self.text)

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read a YAML file, such as Hydra's `.hydra/config.yaml`.

        Raises:
            CheckpointError: if the file cannot be read, or is not a valid configuration.
        """
        try:
            if path.exists() and not path.is_file():  # a pipe would block
                raise OSError(errno.EINVAL, "not a regular file")
            with open(path, encoding="utf-8") as stream:
                return cls.parse(stream.read(MAX_YAML_CHARS + 1))
        except OSError as exc:
            raise CheckpointError("path-not-found" if isinstance(exc, FileNotFoundError) else "read-failed",
                                  f"Cannot read configuration {path}: {reason(exc)}",
                                  permission_hint(exc)) from exc
        except UnicodeDecodeError as exc:
            raise CheckpointError("invalid-config", f"Configuration {path} is not valid UTF-8: {reason(exc)}") from exc
        except CheckpointError as exc:
            raise CheckpointError(exc.code, f"Invalid configuration {path}: {exc.message}", exc.hint) from exc

    @classmethod
    def parse(cls, text: str) -> Config:
        """Parse a configuration from YAML.

        Raises:
            CheckpointError: if the text is not a YAML mapping, has aliases, or is too large or nested too deeply.
        """
        _check_yaml_size(text)
        try:
            if "*" in text and "&" in text and any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
                # A few nested aliases can expand to more values than fit into memory.
                raise CheckpointError("invalid-config", "YAML aliases (&, *) are not supported in a configuration",
                                      "write out the values instead of the aliases")
            cfg: Any = OmegaConf.create(without_tags(text))
            # OmegaConf makes the mapping {text: None} of a text without keys, such as a web page.
            if isinstance(cfg, DictConfig) and [*to_container(cfg).values()] == [None] \
                    and isinstance(yaml.compose(text, yaml.SafeLoader), ScalarNode):
                cfg = None
        except RecursionError:
            raise CheckpointError("invalid-config", "The configuration is nested too deeply") from None
        except (*YAML_ERRORS, OmegaConfBaseException) as exc:
            raise CheckpointError("invalid-config", "The configuration is not valid YAML for OmegaConf: "
                                  f"{describe_yaml_error(exc)}", "correct its syntax") from exc
        except AssertionError:  # OmegaConf raises this if the text is a single number or date
            cfg = None
        if not isinstance(cfg, DictConfig):
            raise CheckpointError("invalid-config", "The configuration must be a mapping of keys to values")
        return cls(to_container(cfg))

    def with_choices(self, path: Path) -> Config:
        """Return a copy with the choices of config groups from `.hydra/hydra.yaml`, if an interpolation may need them.

        The copy has no choices if the file is missing or cannot be read.
        """
        found = copy(self)
        if (_has_reference(self.raw("solver")) or "${hydra:" in self.text) and path.is_file():
            with suppress(CheckpointError):
                choices = Config.load(path).get("hydra.runtime.choices", {})
                found.choices = {str(name): choice for name, choice in choices.items() if isinstance(choice, str)}
        return found

    def without_environment(self) -> Config:
        """Return a copy whose `get` reads no environment variables, for values that are released or shown."""
        found = copy(self)
        found._resolvers = ()
        return found

    def chosen(self, value: Any) -> Any:
        """Replace the interpolations of Hydra's choices (`${hydra:runtime.choices.X}`) in a string, as far as known."""
        is_text = isinstance(value, str)
        return _CHOICE.sub(lambda found: self.choices.get(found[1], found[0]), value) if is_text else value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a dotted key, resolved if it is a string; `default` if it is absent, `???` or null.

        The only resolver that is run is `oc.env`, which reads environment variables.

        Raises:
            CheckpointError: if an interpolation cannot be resolved. The message omits its value, which may be secret.
        """
        value: Any = self.values
        for name in key.split("."):
            if isinstance(value, dict):
                value = value.get(name)
            elif not _has_reference(value):
                value = None
        value = self.chosen(value)
        if _has_reference(value):
            value = self._resolve(key, deep=False, allowed=self._resolvers)
        return default if value is None or value == "???" else value

    def require(self, *keys: str) -> dict[str, Any]:
        """Return the values of top-level keys that a model is built from, with all interpolations resolved.

        Raises:
            CheckpointError: if a value is missing, or refers to something outside the configuration, such as an
                environment variable, which is never released.
        """
        values = {}
        for key in keys:
            try:
                values[key] = self._resolve(key, deep=True)
                problem = "is missing or null" if values[key] is None else ""
            except CheckpointError as exc:
                kind = type(exc.__context__ or exc).__name__
                problem = f"refers to a value that is not in the configuration ({kind})"
            if problem:
                raise CheckpointError("unresolved-config", f"`{key}` of the configuration (xp.cfg), which the model is "
                                      f"built from, {problem}", _WRITE_VALUE) from None
        return values

    def _resolve(self, key: str, deep: bool, allowed: Collection[str] = ()) -> Any:
        """Resolve the value of a dotted key, running only the resolvers in `allowed`.

        Args:
            deep: whether to resolve the values inside of a section or a list as well.
        """
        if is_endless(self.values, key):
            raise CheckpointError("unresolved-config", f"`{key}` of the configuration (xp.cfg) cannot be resolved: it "
                                  "refers to too many other keys, or to itself", _WRITE_VALUE)
        try:
            cfg = OmegaConf.create(without_resolvers(self.values, allowed))
            value = OmegaConf.select(cfg, key, throw_on_missing=True)
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=deep, throw_on_missing=deep)
            return value
        except (OmegaConfBaseException, RecursionError) as exc:
            raise CheckpointError("unresolved-config", f"`{key}` of the configuration (xp.cfg) cannot be resolved on "
                                  f"this machine ({type(exc).__name__})",
                                  "set the key or the environment variable that it refers to" if allowed
                                  else _WRITE_VALUE) from None

    def raw(self, key: str) -> Any:
        """Return the unresolved value of a top-level key."""
        return self.values.get(key)


def describe_yaml_error(exc: Exception) -> str:
    """Return the reason of an exception in `YAML_ERRORS` in one line."""
    is_own = isinstance(exc, (YAMLError, OmegaConfBaseException))
    return reason(exc) if is_own else "a value does not match its YAML tag, or is a number with too many digits"


def is_slow_yaml(text: str) -> bool:
    """Return whether a YAML text is so large or so deeply nested that parsing it could take minutes."""
    depths = accumulate((1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text)), initial=0)
    marks = sum(map(text.count, ",:\n[{?-"))
    return len(text) > MAX_YAML_CHARS or marks > MAX_YAML_MARKS or max(depths) > MAX_YAML_BRACKETS


def _check_yaml_size(text: str) -> None:
    if is_slow_yaml(text) or text.count("${") > MAX_INTERPOLATIONS:
        raise CheckpointError("limit-exceeded", f"The configuration is too large ({len(text)} characters of YAML): the "
                              f"limits are {MAX_YAML_CHARS} characters, {MAX_YAML_MARKS} separators, "
                              f"{MAX_YAML_BRACKETS} nested brackets and {MAX_INTERPOLATIONS} interpolations",
                              "store large data in a separate file")


def _has_reference(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def to_container(cfg: Any) -> Any:
    """Convert an OmegaConf configuration or an argparse namespace to unresolved plain data; keep other values."""
    if OmegaConf.is_config(cfg):
        return OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    return vars(cfg) if isinstance(cfg, Namespace) else cfg
