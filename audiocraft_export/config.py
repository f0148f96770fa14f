"""The configuration of an experiment (`xp.cfg`): plain data, its YAML text, values in it."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from .errors import CheckpointError, reason

OWN_KEYS = ("export", "exporter")
REFERENCE = re.compile(r"\$\{[^{}:]*\}")
RESOLVER = re.compile(r"\$\{[^{}]*:")


class Config:
    """An XP's configuration, unresolved, without the keys of this package.

    Args:
        values: plain data: dicts, lists, numbers, texts, interpolations as their text.

    Raises:
        CheckpointError: if OmegaConf cannot hold it.
    """

    def __init__(self, values: Mapping[Any, Any]) -> None:
        self._values = {key: value for key, value in values.items() if key not in OWN_KEYS}
        try:
            self._cfg: DictConfig = OmegaConf.create(self._values)
            self.text: str = OmegaConf.to_yaml(self._cfg)
        except (OmegaConfBaseException, YAMLError) as exc:
            raise CheckpointError(f"The configuration (xp.cfg) cannot be written as YAML ({reason(exc)}): keep plain "
                                  "values in it.") from exc

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read a YAML file, such as Hydra's `.hydra/config.yaml`.

        Raises:
            CheckpointError: if it cannot be read or is no mapping.
        """
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, CheckpointError) as exc:
            raise CheckpointError(f"The configuration {path} cannot be read ({reason(exc)}): mend that file.") from exc

    @classmethod
    def parse(cls, text: str) -> Config:
        """The configuration written as YAML.

        Raises:
            CheckpointError: if it is no mapping in YAML.
        """
        try:
            cfg = OmegaConf.create(text)
        except (YAMLError, OmegaConfBaseException) as exc:
            raise CheckpointError(f"The configuration is no YAML of OmegaConf ({reason(exc)}).") from exc
        if not isinstance(cfg, DictConfig):
            raise CheckpointError("The configuration is no mapping of keys to values.")
        return cls(unwrap(cfg))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key, resolved; `default` if it is not there, missing or null.

        Raises:
            CheckpointError: if its interpolation cannot be resolved here (the value is not shown:
                an interpolation may read a secret from the environment).
        """
        try:
            value = OmegaConf.select(self._cfg, key, default=default)
        except (OmegaConfBaseException, RecursionError) as exc:
            raise CheckpointError(f"`{key}` of the configuration (xp.cfg) cannot be resolved on this machine "
                                  f"({type(exc).__name__}): set what it refers to.") from exc
        return default if value is None else value

    @property
    def values(self) -> dict[Any, Any]:
        """All of it, as plain data, unresolved."""
        return dict(self._values)

    def resolved(self, *keys: str) -> dict[str, Any]:
        """Some top-level values with their references to others resolved: what a model is built from.

        Raises:
            CheckpointError: if one is missing, or refers to something outside the configuration, such as the
                environment: that is never released.
        """
        cfg = OmegaConf.create(_without_resolvers(self._values))
        values = {}
        for key in keys:
            try:
                value = cfg[key]
                values[key] = OmegaConf.to_container(value, resolve=True, throw_on_missing=True) \
                    if OmegaConf.is_config(value) else value
                missing = "null" if value is None else None
            except (OmegaConfBaseException, RecursionError) as exc:
                missing = type(exc).__name__
            if missing:
                raise CheckpointError(f"`{key}` of the configuration (xp.cfg), from which the model is built, is "
                                      f"missing or stands for something that is not in it ({missing}): a release "
                                      "needs the value itself.")
        return values

    def shown(self, key: str) -> Any:
        """The value of a top-level key as it was written, for a message: an interpolation stays text."""
        return self._values.get(key)


def _without_resolvers(value: Any) -> Any:
    """A copy in which what a resolver would compute (`${oc.env:USER}`) is missing."""
    if isinstance(value, dict):
        return {key: _without_resolvers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_resolvers(item) for item in value]
    return "???" if isinstance(value, str) and _calls_a_resolver(value) else value


def _calls_a_resolver(text: str) -> bool:
    inner = REFERENCE.sub("", text)
    while inner != text:  # the name of a resolver may be a reference itself: ${${name}:USER}
        text, inner = inner, REFERENCE.sub("", inner)
    return bool(RESOLVER.search(text))


def unwrap(cfg: Any) -> Any:
    """A living configuration (OmegaConf, argparse namespace) as the data in it, unresolved."""
    if OmegaConf.is_config(cfg):
        return OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    return vars(cfg) if isinstance(cfg, Namespace) else cfg
