"""The configuration of an experiment (`xp.cfg`): plain data, its YAML text, values in it."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import AliasEvent, YAMLError

from ..errors import CheckpointError, reason
from .interpolation import is_endless, without_resolvers
from .limits import MAX_INTERPOLATIONS, MAX_YAML_BRACKETS, MAX_YAML_CHARS, MAX_YAML_MARKS
from .yaml_tags import without_tags

OWN_KEYS = ("export", "exporter")
# What PyYAML raises for a value that does not fit its tag, such as `!!int ''`, and for a number of too many digits.
YAML_ERRORS = (YAMLError, ValueError, AttributeError, LookupError, OverflowError, TypeError)
_CHOICE = re.compile(r"\$\{hydra:runtime\.choices\.([\w./@-]+)\}")


class Config:
    """An XP's configuration: plain data, unresolved (interpolations are strings), without the keys of this package.

    Raises:
        CheckpointError: if OmegaConf cannot hold it.
    """

    def __init__(self, values: Mapping[Any, Any]) -> None:
        self.values = {key: value for key, value in values.items() if key not in OWN_KEYS}
        self.choices: Mapping[str, str] = {}  # Hydra's choices of config groups, never released
        try:
            self.text: str = OmegaConf.to_yaml(OmegaConf.create(self.values))
        except RecursionError:
            raise CheckpointError("The configuration (xp.cfg) is nested too deeply: keep it flat.") from None
        except (OmegaConfBaseException, YAMLError, ValueError) as exc:  # ValueError: a number of too many digits
            raise CheckpointError(f"The configuration (xp.cfg) cannot be written as YAML ({reason(exc)}): keep plain "
                                  "values in it.") from exc
        _check_yaml_size(self.text)

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read a YAML file, such as Hydra's `.hydra/config.yaml`.

        Raises:
            CheckpointError: if it cannot be read or is not a mapping.
        """
        try:
            with open(path, encoding="utf-8") as stream:
                return cls.parse(stream.read(MAX_YAML_CHARS + 1))
        except (OSError, UnicodeDecodeError, CheckpointError) as exc:
            raise CheckpointError(f"The configuration {path} cannot be read ({reason(exc)}): mend that file.") from exc

    @classmethod
    def parse(cls, text: str) -> Config:
        """Parse the YAML text of a configuration.

        Raises:
            CheckpointError: if it is not a mapping in YAML.
        """
        _check_yaml_size(text)
        try:
            if "*" in text and "&" in text and any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
                raise CheckpointError("The configuration has aliases of YAML (&, *), which may stand for any amount: "
                                      "write out what they stand for.")
            cfg: Any = OmegaConf.create(without_tags(text))
        except RecursionError:
            raise CheckpointError("The configuration is nested too deeply: keep it flat.") from None
        except (*YAML_ERRORS, OmegaConfBaseException) as exc:
            raise CheckpointError(f"The configuration is no YAML of OmegaConf ({reason(exc)}): correct its "
                                  "text.") from exc
        except AssertionError:  # how OmegaConf says that it is a number or a date
            cfg = None
        if not isinstance(cfg, DictConfig):
            raise CheckpointError("The configuration is no mapping of keys to values: write it as one.")
        return cls(to_container(cfg))

    def with_choices(self, path: Path) -> Config:
        """Add the choices of config groups in Hydra's `.hydra/hydra.yaml`, if something may stand for one.

        A file that is missing or cannot be read counts as one without choices.
        """
        if (_has_reference(self.raw("solver")) or "${hydra:" in self.text) and path.is_file():
            with suppress(CheckpointError):
                choices = Config.load(path).get("hydra.runtime.choices", {})
                self.choices = {str(name): choice for name, choice in choices.items() if isinstance(choice, str)}
        return self

    def chosen(self, value: Any) -> Any:
        """A value in which Hydra's choices stand for their interpolations, as far as they are known."""
        is_text = isinstance(value, str)
        return _CHOICE.sub(lambda found: self.choices.get(found[1], found[0]), value) if is_text else value

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key, resolved if it is a string; `default` if it is absent, missing (`???`) or null.

        Of all resolvers only that of environment variables is run.

        Raises:
            CheckpointError: if its interpolation cannot be resolved (the value is not shown: it may be a secret).
        """
        value: Any = self.values
        for name in key.split("."):
            if isinstance(value, dict):
                value = value.get(name)
            elif not _has_reference(value):
                value = None
        value = self.chosen(value)
        if _has_reference(value):
            value = self._resolve(key, deep=False, but=("oc.env",))
        return default if value is None or value == "???" else value

    def require(self, *keys: str) -> dict[str, Any]:
        """Some top-level values with all interpolations in them resolved: what a model is built from.

        Raises:
            CheckpointError: if one is missing, or refers to something outside the configuration, such as the
                environment: that is never released.
        """
        values = {}
        for key in keys:
            try:
                values[key] = self._resolve(key, deep=True)
                missing = "null" if values[key] is None else None
            except CheckpointError as exc:
                missing = type(exc.__context__ or exc).__name__
            if missing:
                raise CheckpointError(f"`{key}` of the configuration (xp.cfg), from which the model is built, is "
                                      f"missing or stands for something that is not in it ({missing}): a release "
                                      "needs the value itself.") from None
        return values

    def _resolve(self, key: str, deep: bool, but: Collection[str] = ()) -> Any:
        """Resolve the value of a dotted key, with `deep` also all that is in it, and run no resolvers `but` these."""
        if is_endless(self.values, key):
            raise CheckpointError(f"`{key}` of the configuration (xp.cfg) refers to so much else that it cannot be "
                                  "resolved: write the value itself.")
        try:
            cfg = OmegaConf.create(without_resolvers(self.values, but))
            value = OmegaConf.select(cfg, key, throw_on_missing=True)
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=deep, throw_on_missing=deep)
            return value
        except (OmegaConfBaseException, RecursionError) as exc:
            raise CheckpointError(f"`{key}` of the configuration (xp.cfg) cannot be resolved on this machine "
                                  f"({type(exc).__name__}): set what it refers to.") from None

    def raw(self, key: str) -> Any:
        """The value of a top-level key as it was written, for a message."""
        return self.values.get(key)


def is_slow_yaml(text: str) -> bool:
    """Whether YAML takes longer to read than anybody waits."""
    depths = accumulate((1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text)), initial=0)
    marks = sum(map(text.count, ",:\n[{?-"))
    return len(text) > MAX_YAML_CHARS or marks > MAX_YAML_MARKS or max(depths) > MAX_YAML_BRACKETS


def _check_yaml_size(text: str) -> None:
    if is_slow_yaml(text) or text.count("${") > MAX_INTERPOLATIONS:
        raise CheckpointError(f"The configuration is larger than that of any training ({len(text)} characters of "
                              "YAML): keep it small, flat and plain.")


def _has_reference(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def to_container(cfg: Any) -> Any:
    """The plain data in a configuration (OmegaConf, argparse namespace), unresolved; other values as they are."""
    if OmegaConf.is_config(cfg):
        return OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    return vars(cfg) if isinstance(cfg, Namespace) else cfg
