"""A configuration as plain data, from a checkpoint or from a living solver."""

from argparse import Namespace
from pathlib import PurePath
from typing import Any

from ..errors import CheckpointError
from ..experiment.limits import MAX_INTERPOLATIONS, MAX_YAML_CHARS
from .allowlist import Node, UnknownGlobal
from .limits import MAX_CONFIG_BITS, MAX_CONFIG_VALUES, MAX_INTERPOLATION

_SCALARS = (type(None), int, float, str, bytes)  # a bool is an int


def to_plain(cfg: Any) -> dict[Any, Any]:
    """`xp.cfg` as plain data; interpolations and `???` stay as they are, paths become strings.

    Raises:
        CheckpointError: if it holds something else (the message names it), is no mapping, or has no end.
    """
    try:
        values = _PlainConverter().convert(cfg, "xp.cfg")
    except RecursionError:
        raise CheckpointError("The configuration (xp.cfg) is nested too deeply: keep it flat.") from None
    if not isinstance(values, dict):
        raise CheckpointError("The configuration (xp.cfg) is no mapping of keys to values: write it as one.")
    return values


class _PlainConverter:
    """Converts values, and counts them: shared references may expand to more than any memory holds."""

    def __init__(self) -> None:
        self._values, self._text, self._references = 0, 0, 0

    def convert(self, value: Any, where: str) -> Any:
        if isinstance(value, Node):
            return self.convert(value.state.get("_content", value.state.get("_val")), where)
        self._count(value)
        if isinstance(value, Namespace):
            value = vars(value)
        if isinstance(value, dict):
            return {self._convert_key(key, where): self.convert(item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.convert(item, f"{where}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, _SCALARS):
            return value
        raise CheckpointError(f"{where} is {describe_type(value)}, which is no plain configuration: keep numbers, "
                              "texts, lists and mappings in it.")

    def _convert_key(self, key: Any, where: str) -> Any:
        self._count(key)
        if isinstance(key, _SCALARS):
            return key
        if not isinstance(key, UnknownGlobal):
            key = UnknownGlobal(f"a key that is a {type(key).__name__}")
        return self.convert(key, where)

    def _count(self, value: Any) -> None:
        self._values += 1
        self._text += len(value) if isinstance(value, (str, bytes)) else 0
        references = value.count("${") if isinstance(value, str) else 0
        self._references += references
        if self._values > MAX_CONFIG_VALUES or self._text > MAX_YAML_CHARS:
            raise CheckpointError(f"The configuration (xp.cfg) has more than {MAX_CONFIG_VALUES} values, or "
                                  f"{MAX_YAML_CHARS} characters: keep it small, flat and plain.")
        if isinstance(value, int) and value.bit_length() > MAX_CONFIG_BITS or self._references > MAX_INTERPOLATIONS \
                or references and len(value) > MAX_INTERPOLATION:
            raise CheckpointError(f"The configuration (xp.cfg) has a number of more than {MAX_CONFIG_BITS} bits, more "
                                  f"than {MAX_INTERPOLATIONS} interpolations, or one of more than {MAX_INTERPOLATION} "
                                  "characters: keep it small, flat and plain.")


def describe_type(value: Any) -> str:
    """What to call an unexpected value in a message."""
    return value.name if isinstance(value, UnknownGlobal) else f"a {type(value).__name__.removeprefix('Lazy').lower()}"
