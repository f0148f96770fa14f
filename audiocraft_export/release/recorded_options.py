"""Compare and describe the options that a manifest records."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..options import ExportOptions

_DEFAULTS = asdict(ExportOptions())


def with_default(options: Mapping[str, Any], name: str) -> Any:
    """Return an option of a manifest, or its default value if the manifest leaves it out."""
    return options.get(name, _DEFAULTS.get(name))


def other_options(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a release that are not the wanted ones, except `metric`: only its effect is compared."""
    found = {name: with_default(existing, name) for name in {**existing, **wanted} if name != "metric"}
    return {name: value for name, value in found.items() if value != with_default(wanted, name)}


def describe_options(options: Mapping[str, Any]) -> str:
    """Format options as `name=value, ...`, for a message; None is the default of each option that can be None."""
    shown = {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in options.items()}
    return ", ".join(f"default {name}" if value is None else f"{name}={value}" for name, value in shown.items())
