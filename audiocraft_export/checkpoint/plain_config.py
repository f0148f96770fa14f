"""A configuration as plain data, from a checkpoint or from a living solver."""

from argparse import Namespace
from datetime import date, time, timedelta
from enum import Enum
from numbers import Number
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, Callable, Optional

from ..errors import CheckpointError
from ..experiment.limits import MAX_INTERPOLATIONS, MAX_YAML_CHARS
from .allowlist import TORCH_DTYPES, AllowedGlobal, Node, SetItems, Storage, UnknownCall, UnknownGlobal
from .limits import MAX_CONFIG_BITS, MAX_CONFIG_VALUES, MAX_INTERPOLATION
from .numpy_scalars import to_number
from .tensor import NEW_DTYPES

SHARD_REMEDY = "gather it on all ranks before it is stored, with full_tensor() or with get_model_state_dict of " \
               "torch.distributed.checkpoint.state_dict and its option full_state_dict"
_REMEDIES = {  # by the last part of an unknown global
    "DTensor": SHARD_REMEDY, "ShardedTensor": SHARD_REMEDY,
    "UninitializedParameter": "run the model once on an input before it is stored",
    "UninitializedBuffer": "run the model once on an input before it is stored",
}
_SCALARS = (bool, int, float, str, bytes)
_CONTENT = ("_content", "_val", "content", "val")  # of a node; the last two in OmegaConf 1.4
_Path = tuple[Any, ...]


def to_plain(cfg: Any, beside: Callable[[], Any] = lambda: None, notes: Optional[list[str]] = None) -> dict[Any, Any]:
    """`xp.cfg` as plain data; interpolations and `???` stay as they are, sets become sorted lists, all else text.

    Args:
        beside: gives the configuration that lies beside the checkpoint, or None: its value of the same key is taken for
            what is no plain data, and for an enumeration, of which a pickle holds no name.
        notes: takes a warning for each value that is not what the checkpoint says.

    Raises:
        CheckpointError: if it holds something else (the message names it), is no mapping, or has no end.
    """
    try:
        values = _PlainConverter(beside, [] if notes is None else notes).convert(cfg, ())
    except RecursionError:
        raise CheckpointError("The configuration (xp.cfg) is nested too deeply: keep it flat.") from None
    if not isinstance(values, dict):
        raise CheckpointError("The configuration (xp.cfg) is no mapping of keys to values: write it as one.")
    return values


class _PlainConverter:
    """Converts values, and counts them: shared references may expand to more than any memory holds."""

    def __init__(self, beside: Callable[[], Any], notes: list[str]) -> None:
        self._beside, self._notes = beside, notes
        self._values, self._text, self._references = 0, 0, 0

    def convert(self, value: Any, path: _Path) -> Any:
        if isinstance(value, Node):
            return self.convert(next((value.state[key] for key in _CONTENT if key in value.state), None), path)
        self._count(value)
        value = vars(value) if isinstance(value, (Namespace, SimpleNamespace)) else to_number(value)
        is_set = isinstance(value, (SetItems, set, frozenset))
        if isinstance(value, dict):
            return self._convert_dict(value, path)
        value = value.items if isinstance(value, SetItems) else value
        if is_set:
            return _sorted([self.convert(item, (*path, "{}")) for item in value])
        if isinstance(value, (list, tuple)):
            return [self.convert(item, (*path, index)) for index, item in enumerate(value)]
        plain = _to_scalar(value)
        return plain if plain is not None or value is None else self._replace(value, path, self._select(path))

    def _convert_dict(self, items: dict[Any, Any], path: _Path) -> dict[Any, Any]:
        converted = {}
        for index, (key, item) in enumerate(items.items()):
            name = self._convert_key(key, path, index, len(items))
            converted[name] = self.convert(item, (*path, name))
        if len(converted) < len(items):
            raise CheckpointError(f"{_show(path)} has keys that are the same as plain data: give each another name.")
        return converted

    def _replace(self, value: Any, path: _Path, found: Any) -> Any:
        """What stands for what is no plain data: its name, what was found beside the checkpoint, or its value."""
        if isinstance(value, UnknownGlobal) and value.is_attribute and all(map(_is_class, _split(value.name))):
            return _split(value.name)[1]
        is_enum = isinstance(value, UnknownCall) and not value.is_changed and _is_class(value.name)
        if found is not None and not (is_enum and isinstance(found, (dict, list))):
            if not is_enum:
                self._notes.append(f"{_show(path)} is {describe_type(value)}, which is no plain configuration: it was "
                                   "taken from .hydra/config.yaml")
            return self.convert(found, path)
        if is_enum:
            self._notes.append(f"{_show(path)} is {value.name}({value.value!r}), whose name is not in the checkpoint: "
                               "it was released by its value")
            return self.convert(value.value, path)
        raise _refusal(value, path)

    def _convert_key(self, key: Any, path: _Path, index: int, count: int) -> Any:
        self._count(key)
        plain = _to_scalar(to_number(key))
        if plain is None and key is not None:
            if not isinstance(key, UnknownGlobal):
                key = UnknownGlobal(f"a key that is a {type(key).__name__}")
            found = self._select(path)
            is_same = isinstance(found, dict) and len(found) == count  # then its keys are in the same order
            plain = self._replace(key, path, [*found][index] if is_same else None)
        if isinstance(plain, (dict, list)):
            raise _refusal(key, path)
        return plain

    def _select(self, path: _Path) -> Any:
        """The value in the configuration beside the checkpoint; None if it has none."""
        values = self._beside()
        for key in path:
            is_there = isinstance(values, dict) and key in values \
                or isinstance(values, list) and isinstance(key, int) and key < len(values)
            if not is_there:
                return None
            values = values[key]
        return values

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


def _refusal(value: Any, path: _Path) -> CheckpointError:
    return CheckpointError(f"{_show(path)} is {describe_type(value)}, which is no plain configuration: keep numbers, "
                           "texts, lists and mappings in it.")


def describe_type(value: Any) -> str:
    """What to call an unexpected value in a message."""
    if isinstance(value, (UnknownGlobal, SetItems)):
        return value.name
    return f"a {type(value).__name__.removeprefix('Lazy').lower()}"


def _to_scalar(value: Any) -> Any:
    """A scalar, or the text of a path, date, dtype or device, or the name of an enumeration; None if it is neither."""
    if isinstance(value, Enum):
        return value.value if value.name is None else value.name  # several flags have no name before Python 3.11
    if isinstance(value, _SCALARS):
        base: Any = next(kind for kind in _SCALARS if isinstance(value, kind))
        return value if type(value) is base else base(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (PurePath, timedelta, Number)):
        return str(value)
    if isinstance(value, AllowedGlobal):
        return value.name if value.name.removeprefix("torch.") in TORCH_DTYPES else None
    if isinstance(value, Storage) and value.dtype in NEW_DTYPES and value.blob is None:
        return f"torch.{value.dtype}"
    is_torch = type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device")
    return str(value) if is_torch else None


def _sorted(items: list[Any]) -> list[Any]:
    """The items of a set: numbers, then all else by its text."""
    numbers = sorted(item for item in items if isinstance(item, (int, float)))
    return numbers + sorted((item for item in items if not isinstance(item, (int, float))), key=str)


def _is_class(name: str) -> bool:
    """Whether a global has the name of a class or of a member of an enumeration: a function is no data."""
    return name.rpartition(".")[2][:1].isupper()


def _split(name: str) -> tuple[str, str]:
    """A global and its attribute."""
    owner, _, attribute = name.rpartition(".")
    return owner, attribute


def _show(path: _Path) -> str:
    return "xp.cfg" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def remedy(value: Any) -> str:
    """What to do about an unexpected value in the weights."""
    name = value.name.rpartition(".")[2] if isinstance(value, UnknownGlobal) else ""
    return _REMEDIES.get(name, "keep it out of the model's state")
