"""Convert a configuration, from a checkpoint or from a solver in memory, to plain data."""

from argparse import Namespace
from datetime import date, time, timedelta
from enum import Enum
from numbers import Number
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, Callable, Optional

from ..errors import CheckpointError, coded_warning
from ..experiment.limits import MAX_INTERPOLATIONS, MAX_YAML_CHARS
from ..experiment.walk import find
from .allowlist import (
    TORCH_DTYPES,
    AllowedGlobal,
    Node,
    SetItems,
    Storage,
    UnknownCall,
    UnknownGlobal,
    describe_type,
    is_class_name,
)
from .limits import MAX_CONFIG_BITS, MAX_CONFIG_VALUES, MAX_REFERENCE_CHARACTERS
from .numpy_scalars import to_number
from .tensor import NEW_DTYPES

_FLATTEN = "use a flat configuration"
_SHRINK = "keep large data out of the configuration"
_SCALARS = (bool, int, float, str, bytes)
_CONTENT = ("_content", "_val", "content", "val")  # attributes that hold a node's value; the last two: OmegaConf 1
_Path = tuple[Any, ...]  # the keys and indices from the configuration to a value; `{}` is an item of a set
Note = tuple[_Path, str]  # a coded warning about the value at a path


def to_plain(cfg: Any, load_hydra_config: Callable[[], Any] = lambda: None,
             notes: Optional[list[Note]] = None) -> dict[Any, Any]:
    """Convert a configuration (`xp.cfg`) to plain data.

    Interpolations and `???` are kept, sets become sorted lists, and paths, dates, dtypes and the like become strings.

    Args:
        cfg: an OmegaConf configuration, an argparse namespace or a dict, in memory or from a pickle.
        load_hydra_config: returns the configuration of `.hydra/config.yaml` or None. It replaces values that are not
            plain data, and enumerations, because a pickle does not have their names.
        notes: receives a coded warning for each replaced value.

    Raises:
        CheckpointError: if the configuration is not a mapping, is too large, or has an unsupported value.
    """
    try:
        values = _PlainConverter(load_hydra_config, [] if notes is None else notes).convert(cfg, ())
    except RecursionError:
        raise CheckpointError("invalid-config", "The configuration (xp.cfg) is nested too deeply", _FLATTEN) from None
    if not isinstance(values, dict):
        raise CheckpointError("invalid-config", "The configuration (xp.cfg) must be a mapping, got "
                              f"{describe_type(values)}")
    return values


class _PlainConverter:
    """Convert nested values, and limit their number: shared references may expand exponentially."""

    def __init__(self, load_hydra_config: Callable[[], Any], notes: list[Note]) -> None:
        self._load_hydra_config, self._notes = load_hydra_config, notes
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
            raise CheckpointError("unsupported-config-value", f"{_show(path)} has keys that become equal when "
                                  "converted to plain data", "rename all but one of these keys")
        return converted

    def _replace(self, value: Any, path: _Path, found: Any) -> Any:
        """Replace a value that is not plain data by an enum name, by `found` in Hydra's file, or by an enum value."""
        if isinstance(value, UnknownGlobal) and value.is_attribute and all(map(is_class_name, _split(value.name))):
            return _split(value.name)[1]
        is_enum = isinstance(value, UnknownCall) and not value.is_changed and is_class_name(value.name)
        if found is not None and not (is_enum and isinstance(found, (dict, list))):
            if not is_enum:
                self._note(path, f"is {describe_type(value)}, which is not plain data; used the value of "
                           ".hydra/config.yaml")
            return self.convert(found, path)
        if is_enum:
            self._note(path, f"is a {value.name}, whose name is not in the checkpoint; used its value")
            return self.convert(value.value, path)
        raise _refusal(value, path)

    def _note(self, path: _Path, text: str) -> None:
        self._notes.append((path, coded_warning("config-value-replaced", f"{_show(path)} {text}")))

    def _convert_key(self, key: Any, path: _Path, index: int, count: int) -> Any:
        """Convert the key at `index` of a mapping with `count` items."""
        self._count(key)
        plain = _to_scalar(to_number(key))
        if plain is None and key is not None:
            if not isinstance(key, UnknownGlobal):
                key = UnknownGlobal(f"a dict key of type {type(key).__name__}")
            found = self._select(path)
            is_same = isinstance(found, dict) and len(found) == count  # equal lengths imply the same order of keys
            plain = self._replace(key, path, [*found][index] if is_same else None)
        if isinstance(plain, (dict, list)):
            raise _refusal(key, path)
        return plain

    def _select(self, path: _Path) -> Any:
        """Return the value at a path in `.hydra/config.yaml`; None if it is missing."""
        return find(self._load_hydra_config(), path)

    def _count(self, value: Any) -> None:
        """Count a value, its characters and its interpolations; raise an error beyond the limits."""
        self._values += 1
        self._text += len(value) if isinstance(value, (str, bytes)) else 0
        references = value.count("${") if isinstance(value, str) else 0
        self._references += references
        if self._values > MAX_CONFIG_VALUES or self._text > MAX_YAML_CHARS:
            raise CheckpointError("limit-exceeded", f"The configuration (xp.cfg) has more than {MAX_CONFIG_VALUES} "
                                  f"values or {MAX_YAML_CHARS} characters", _SHRINK)
        if isinstance(value, int) and value.bit_length() > MAX_CONFIG_BITS or self._references > MAX_INTERPOLATIONS \
                or references and len(value) > MAX_REFERENCE_CHARACTERS:
            raise CheckpointError("limit-exceeded", "The configuration (xp.cfg) has a number of more than "
                                  f"{MAX_CONFIG_BITS} bits, more than {MAX_INTERPOLATIONS} interpolations, or an "
                                  f"interpolation of more than {MAX_REFERENCE_CHARACTERS} characters", _SHRINK)


def _refusal(value: Any, path: _Path) -> CheckpointError:
    return CheckpointError("unsupported-config-value", "Unsupported value in the configuration: "
                           f"{_show(path)} is {describe_type(value)}", "use numbers, strings, lists and mappings")


def _to_scalar(value: Any) -> Any:
    """Convert a scalar, path, date, dtype, device or enumeration to plain data; return None for any other value."""
    if isinstance(value, Enum):
        return value.value if value.name is None else value.name  # Combined flags have no name before Python 3.11.
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
    """Sort the items of a set: numbers first, then all other items by their string form."""
    numbers = sorted(item for item in items if isinstance(item, (int, float)))
    return numbers + sorted((item for item in items if not isinstance(item, (int, float))), key=str)


def _split(name: str) -> tuple[str, str]:
    """Split the name of a global into its owner and attribute."""
    owner, _, attribute = name.rpartition(".")
    return owner, attribute


def _show(path: _Path) -> str:
    """Format the path of a value for a message, such as `xp.cfg.optim.betas[0]`."""
    return "xp.cfg" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
