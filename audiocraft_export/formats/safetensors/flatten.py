"""Nested content as tensors that have names, and a text that says how they were nested; without loss.

The text is JSON; what JSON does not have stands in it as `{"$kind": value}`.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing, reason
from ...release.content import AttrDict

MARK = "$"
MOST_DEPTH = 64  # of what is nested; a tuple takes two levels of the text


class Flattened:
    """Nested content, flat.

    `tensors` has them by name: the place where each stands, without the key under which all of them stand. Of tied
    ones it has one. `text` is the rest.

    Args:
        content: nested mappings, lists, texts and numbers, with packed tensors.
        files: texts that are kept in files of their own, by the names of those.

    Raises:
        CheckpointError: if two tensors have the same name, or what is no tensor cannot be written as JSON.
    """

    def __init__(self, content: Mapping[Any, Any], files: Mapping[str, str]) -> None:
        self.tensors: dict[str, LazyTensor] = {}
        self._names: dict[tuple[int, str], str] = {}
        self._files = {text: name for name, text in files.items()}
        self._above = 1 if sum(map(_has_tensors, content.values())) == 1 else 0
        try:
            self.text = json.dumps(self._encoded(content, ()), separators=(",", ":"))
        except ValueError as exc:  # a number of too many digits, too
            raise CheckpointError(f"What the model holds beside its tensors cannot be written as JSON ({reason(exc)}): "
                                  "use format=audiocraft, or keep it out of the model's state.") from exc

    def _encoded(self, value: Any, path: tuple[Any, ...]) -> Any:
        if len(path) > MOST_DEPTH:
            raise ValueError(f"nested more than {MOST_DEPTH} deep")
        if isinstance(value, LazyTensor):
            return self._tensor(value, ".".join(map(str, path[self._above:])))
        if isinstance(value, dict):
            return self._mapping(value, path)
        if isinstance(value, (list, tuple)):
            items = [self._encoded(item, (*path, index)) for index, item in enumerate(value)]
            return items if isinstance(value, list) else {"$tuple": items}
        if path[-1] == "xp.cfg" and value in self._files:
            return {"$file": self._files[value]}
        return _scalar(value)

    def _mapping(self, value: dict[Any, Any], path: tuple[Any, ...]) -> Any:
        items = {key: self._encoded(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, AttrDict):
            return {"$attributes": [*items.items()]}
        plain = all(isinstance(key, str) and not key.startswith(MARK) for key in items)
        return items if plain else {"$pairs": [*items.items()]}

    def _tensor(self, tensor: LazyTensor, name: str) -> Any:
        kept = self._names.setdefault((id(tensor.blob), tensor.dtype), name)
        if kept != name:
            return {"$tied": [kept, list(tensor.shape)]}
        if name in self.tensors:
            raise CheckpointError(f"Two tensors of the model would be called {name!r} in a file of safetensors, which "
                                  "holds one of each name: use format=audiocraft.")
        self.tensors[name] = tensor
        return {"$tensor": name}


def unflatten(text: str, tensors: Mapping[str, LazyTensor], files: Mapping[str, str]) -> dict[Any, Any]:
    """What `Flat` was made of.

    Args:
        text: of the flat content.
        tensors: of the flat content, by name.
        files: the texts that are kept in files of their own, by the names of those.

    Raises:
        CheckpointError: if they do not belong together.
    """
    whole = _Unflattener(tensors, files)
    try:
        content = whole.value(json.loads(text))
        if not isinstance(content, dict):
            raise TypeError("no mapping")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, struct.error) as exc:
        raise CheckpointError("the text that says how its tensors are nested is none of this tool "
                              f"({type(exc).__name__}: {exc}): export again.") from exc
    surplus = [name for name in tensors if name not in whole.used]
    if surplus:
        raise CheckpointError(f"it holds tensors that belong nowhere ({listing(surplus)}): export again.")
    return content


class _Unflattener:
    """Nests again what was flat; `used` are the names of the tensors that were asked for."""

    def __init__(self, tensors: Mapping[str, LazyTensor], files: Mapping[str, str]) -> None:
        self._tensors, self._files = tensors, files
        self.used: set[str] = set()

    def value(self, value: Any, depth: int = 0) -> Any:
        if depth > 2 * MOST_DEPTH:
            raise ValueError(f"nested more than {MOST_DEPTH} deep")
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        kind = next(iter(value), "")
        if kind.startswith(MARK):
            if len(value) > 1:
                raise ValueError(f"{kind} beside other names")
            return self._marked(kind, value[kind], depth + 1)
        return {key: self.value(item, depth + 1) for key, item in value.items()}

    def _marked(self, kind: str, of: Any, depth: int) -> Any:
        if kind in ("$pairs", "$attributes"):
            items = {key: self.value(item, depth) for key, item in of}
            return AttrDict(items) if kind == "$attributes" else items
        if kind == "$tuple":
            return tuple(self.value(of, depth))
        if kind in ("$tensor", "$tied"):
            name, shape = (of, None) if kind == "$tensor" else of
            self.used.add(name)
            return self._tensors[name] if shape is None else self._tensors[name].reshape(tuple(shape))
        if kind == "$file":
            return self._files[of]
        return base64.b64decode(of) if kind == "$bytes" else {"$float": _float}[kind](of)


def _has_tensors(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_tensors, value.values()))
    return any(map(_has_tensors, value)) if isinstance(value, (list, tuple)) else isinstance(value, LazyTensor)


def _scalar(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):  # all its bits: there are many NaN
        return {"$float": struct.pack(">d", value).hex()}
    return value


def _float(text: str) -> float:
    return float(struct.unpack(">d", bytes.fromhex(text))[0])
