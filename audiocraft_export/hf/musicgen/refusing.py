"""Refuses what transformers cannot represent of a language model, by the tables of `refused`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...config import Config
from ...errors import CheckpointError
from ...families import LANGUAGE_MODEL, described, family_of, solver_of
from ..parts import USE
from .refused import HARMLESS, SOLVERS, Rule, Size


def refuse_family(config: Config) -> None:
    """Refuse models of which transformers has no class.

    Raises:
        CheckpointError: if it has none; the message says why, and which format works.
    """
    if family_of(config) is not LANGUAGE_MODEL:
        why = SOLVERS.get(str(solver_of(config)), "transformers has the models of AudioCraft's solvers only")
        raise CheckpointError(f"{described(config).capitalize()} cannot be released for transformers ({why}): {USE}")


def refuse_settings(config: Config, rules: Iterable[Rule], name: str = "") -> None:
    """Refuse what transformers would silently do otherwise.

    Args:
        config: of the experiment.
        rules: that it has to keep.
        name: of the conditioner that they are about.

    Raises:
        CheckpointError: if one is broken.
    """
    for rule in rules:
        value = config.get(rule.key.format(name), rule.default)
        if value not in rule.fine:
            raise refusal(rule.key.format(name), value, rule.why)


def refuse_unknown(config: Config, rules: Iterable[Rule], name: str = "") -> None:
    """Refuse options that these tables do not know: nobody can say what transformers would need.

    Args:
        config: of the experiment.
        rules: whose keys are known.
        name: of the conditioner whose options are looked at; without one, those of the model itself.

    Raises:
        CheckpointError: if one is in use.
    """
    known = {rule.key.format(name) for rule in rules}
    for section, harmless in HARMLESS.items():
        if ("{}" in section) == bool(name):
            for option in _options(config, section.format(name)):
                key = f"{section.format(name)}.{option}"
                value = config.get(key)
                if option not in harmless and key not in known and value not in (None, False):
                    raise refusal(key, value, "nobody knows what this option changes")


def refuse_sizes(config: Config, sizes: Iterable[Size], name: str = "") -> None:
    """Refuse what is no size of a model.

    Args:
        config: of the experiment.
        sizes: that it gives.
        name: of the conditioner that they are about.

    Raises:
        CheckpointError: if one is no whole number, or beyond that of any model.
    """
    for key, most, default in sizes:
        value = config.get(key.format(name), default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise refusal(key.format(name), value, f"it is no whole number from 1 to {most}")


def number(config: Config, key: str, least: float, most: float, default: Any = None) -> float:
    """A number of the configuration.

    Raises:
        CheckpointError: if it is none, or not between these.
    """
    value = config.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        raise refusal(key, value, f"transformers needs a number from {least:g} to {most:g} there")
    return value


def refusal(key: str, value: Any, why: str) -> CheckpointError:
    """An error about a setting."""
    return CheckpointError(f"{key}={value} of the configuration (xp.cfg) cannot be released for transformers ({why}): "
                           f"{USE}")


def _options(config: Config, section: str) -> list[str]:
    values = config.get(section, {})
    return [str(option) for option in values] if isinstance(values, Mapping) else []

