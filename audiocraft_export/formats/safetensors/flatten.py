"""Flatten nested state into named tensors plus a JSON structure, and back, without loss.

What JSON does not have stands in it as `{"$kind": value}`.
"""

import base64
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing, reason
from ...experiment.walk import walk
from ...release.content import AttrDict
from .limits import MAX_DEPTH

MARK = "$"


class Flattened:
    """Nested mappings, lists, strings, numbers and compact tensors, flat.

    `tensors` has each tensor by its dotted path, without the key under which all of them stand; tied ones only once.
    `text` is the rest, as JSON. `files` are strings that are kept in files of their own, by the names of those.

    Raises:
        CheckpointError: if two tensors have the same name, or the rest cannot be written as JSON.
    """

    def __init__(self, content: Mapping[Any, Any], files: Mapping[str, str]) -> None:
        self.tensors: dict[str, LazyTensor] = {}
        self._names: dict[tuple[int, str], str] = {}
        self._files = {text: name for name, text in files.items()}
        sections = {path[0] for path, leaf in walk(content) if isinstance(leaf, LazyTensor)}
        self._above = 1 if len(sections) == 1 else 0
        try:
            self.text = json.dumps(self._encode(content, ()), separators=(",", ":"))
        except ValueError as exc:  # a number of too many digits, too
            raise CheckpointError(f"What the model holds beside its tensors cannot be written as JSON ({reason(exc)}): "
                                  "use format=audiocraft, or keep it out of the model's state.") from exc

    def _encode(self, value: Any, path: tuple[Any, ...]) -> Any:
        if len(path) > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, LazyTensor):
            return self._encode_tensor(value, ".".join(map(str, path[self._above:])))
        if isinstance(value, dict):
            pairs = {key: self._encode(item, (*path, key)) for key, item in value.items()}
            if isinstance(value, AttrDict):
                return {"$attributes": [*pairs.items()]}
            plain = all(isinstance(key, str) and not key.startswith(MARK) for key in pairs)
            return pairs if plain else {"$pairs": [*pairs.items()]}
        if isinstance(value, (list, tuple)):
            items = [self._encode(item, (*path, index)) for index, item in enumerate(value)]
            return items if isinstance(value, list) else {"$tuple": items}
        if path[-1] == "xp.cfg" and value in self._files:
            return {"$file": self._files[value]}
        if isinstance(value, bytes):
            return {"$bytes": base64.b64encode(value).decode()}
        if isinstance(value, float) and not math.isfinite(value):  # all its bits: there are many NaN
            return {"$float": struct.pack(">d", value).hex()}
        return value

    def _encode_tensor(self, tensor: LazyTensor, name: str) -> Any:
        kept = self._names.setdefault((id(tensor.blob), tensor.dtype), name)
        if kept != name:
            return {"$tied": [kept, list(tensor.shape)]}
        if name in self.tensors:
            raise CheckpointError(f"Two tensors of the model would be called {name!r} in a file of safetensors, which "
                                  "holds one of each name: use format=audiocraft.")
        self.tensors[name] = tensor
        return {"$tensor": name}


def unflatten(text: str, tensors: Mapping[str, LazyTensor], files: Mapping[str, str]) -> dict[Any, Any]:
    """The content of a `Flattened`, from its text, its tensors and its files.

    Raises:
        CheckpointError: if they do not belong together.
    """
    nester = _Unflattener(tensors, files)
    try:
        content = nester.decode(json.loads(text))
        if not isinstance(content, dict):
            raise TypeError("no mapping")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, struct.error) as exc:
        raise CheckpointError("the text that says how its tensors are nested is none of this tool "
                              f"({type(exc).__name__}: {exc}): export again.") from exc
    surplus = [name for name in tensors if name not in nester.used]
    if surplus:
        raise CheckpointError(f"it holds tensors that belong nowhere ({listing(surplus)}): export again.")
    return content


class _Unflattener:
    """Nests values again; `used` are the names of the tensors that they referred to."""

    def __init__(self, tensors: Mapping[str, LazyTensor], files: Mapping[str, str]) -> None:
        self._tensors, self._files = tensors, files
        self.used: set[str] = set()

    def decode(self, value: Any, depth: int = 0) -> Any:
        if depth > 2 * MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        kind = next(iter(value), "")
        if kind.startswith(MARK):
            if len(value) > 1:
                raise ValueError(f"{kind} beside other names")
            return self._decode_marked(kind, value[kind], depth + 1)
        return {key: self.decode(item, depth + 1) for key, item in value.items()}

    def _decode_marked(self, kind: str, content: Any, depth: int) -> Any:
        if kind == "$pairs":
            return {key: self.decode(item, depth) for key, item in content}
        if kind == "$attributes":
            return AttrDict({key: self.decode(item, depth) for key, item in content})
        if kind == "$tuple":
            return tuple(self.decode(content, depth))
        if kind == "$tensor":
            return self._find_tensor(content)
        if kind == "$tied":
            name, shape = content
            return self._find_tensor(name).reshape(tuple(shape))
        if kind == "$file":
            return self._files[content]
        if kind == "$bytes":
            return base64.b64decode(content)
        if kind == "$float":
            return struct.unpack(">d", bytes.fromhex(content))[0]
        raise KeyError(kind)

    def _find_tensor(self, name: str) -> LazyTensor:
        self.used.add(name)
        return self._tensors[name]
