"""A configuration as plain data, from a checkpoint or from a living solver."""

from __future__ import annotations

from argparse import Namespace
from pathlib import PurePath
from typing import Any

from ..errors import CheckpointError
from ..experiment.limits import MAX_INTERPOLATIONS as MOST_REFERENCES
from ..experiment.limits import MAX_YAML_CHARS as MOST_TEXT
from .allowlist import Node, UnknownGlobal

MOST_VALUES = 10_000  # AudioCraft's configurations have some 500
MOST_BITS = 1024
MOST_INTERPOLATION = 10_000  # characters


def to_plain(cfg: Any) -> dict[Any, Any]:
    """A configuration as plain data; interpolations and `???` stay the text they are, paths become text.

    Args:
        cfg: what an unpickled checkpoint, or a living solver, has as `xp.cfg`.

    Raises:
        CheckpointError: if it holds something else (the message names it), is no mapping, or has no end.
    """
    try:
        values = _PlainConverter().of(cfg, "xp.cfg")
    except RecursionError:
        raise CheckpointError("The configuration (xp.cfg) is nested too deeply: keep it flat.") from None
    if not isinstance(values, dict):
        raise CheckpointError("The configuration (xp.cfg) is no mapping of keys to values: write it as one.")
    return values


class _PlainConverter:
    """Makes values plain, and counts them: a few references may stand for more than any machine holds."""

    def __init__(self) -> None:
        self._values, self._text, self._references = 0, 0, 0

    def of(self, value: Any, where: str) -> Any:
        if isinstance(value, Node):
            return self.of(value.state.get("_content", value.state.get("_val")), where)
        self._count(value)
        if isinstance(value, Namespace):
            value = vars(value)
        if isinstance(value, dict):
            return {self._key(key, where): self.of(item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(item, f"{where}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, PurePath):
            return str(value)
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        raise CheckpointError(f"{where} is {describe_type(value)}, which is no plain configuration: keep numbers, "
                              "texts, lists and mappings in it.")

    def _key(self, key: Any, where: str) -> Any:
        self._count(key)
        if key is None or isinstance(key, (bool, int, float, str, bytes)):
            return key
        return self.of(key if isinstance(key, UnknownGlobal) else UnknownGlobal(f"a key that is a {type(key).__name__}"), where)

    def _count(self, value: Any) -> None:
        self._values += 1
        self._text += len(value) if isinstance(value, (str, bytes)) else 0
        self._references += value.count("${") if isinstance(value, str) else 0
        if self._values > MOST_VALUES or self._text > MOST_TEXT:
            raise CheckpointError(f"The configuration (xp.cfg) has more than {MOST_VALUES} values, or {MOST_TEXT} "
                                  "characters: keep it small, flat and plain.")
        if isinstance(value, int) and value.bit_length() > MOST_BITS or self._references > MOST_REFERENCES \
                or isinstance(value, str) and "${" in value and len(value) > MOST_INTERPOLATION:
            raise CheckpointError(f"The configuration (xp.cfg) has a number of more than {MOST_BITS} bits, more than "
                                  f"{MOST_REFERENCES} interpolations, or one of more than {MOST_INTERPOLATION} "
                                  "characters: keep it small, flat and plain.")


def describe_type(value: Any) -> str:
    """What to call a value that has no place where it stands."""
    return value.name if isinstance(value, UnknownGlobal) else f"a {type(value).__name__.removeprefix('Lazy').lower()}"
