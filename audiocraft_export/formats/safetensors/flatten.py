"""Flatten nested state into named tensors plus a JSON structure, and back, without loss.

Values that JSON does not have are written as `{"$kind": value}`.
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

MARK = "$"  # first character of a `$kind`


class Flattened:
    """Nested mappings, lists, strings, numbers and compact tensors as named tensors and a JSON structure.

    Attributes:
        tensors: each tensor by its dotted path, without the top-level key if all tensors are under the same one.
            Tied tensors are stored once.
        text: the structure and all other values, as JSON.

    Args:
        content: the content to flatten.
        files: strings that are written to separate files, by file name.

    Raises:
        CheckpointError: if two tensors get the same name, or a value other than a tensor cannot be written as JSON.
    """

    def __init__(self, content: Mapping[Any, Any], files: Mapping[str, str]) -> None:
        self.tensors: dict[str, LazyTensor] = {}
        self._names: dict[tuple[int, str], str] = {}
        self._files = {text: name for name, text in files.items()}
        sections = {path[0] for path, leaf in walk(content) if isinstance(leaf, LazyTensor)}
        self._above = 1 if len(sections) == 1 else 0  # leading keys to omit in tensor names
        try:
            self.text = json.dumps(self._encode(content, ()), separators=(",", ":"))
        except ValueError as exc:  # includes integers with too many digits
            raise CheckpointError("unsupported-by-safetensors",
                                  f"Non-tensor data of the model cannot be written as JSON: {reason(exc)}",
                                  "use format=audiocraft, or keep it out of the state of the model") from exc

    def _encode(self, value: Any, path: tuple[Any, ...]) -> Any:
        if len(path) > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
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
        if isinstance(value, float) and not math.isfinite(value):  # keep all bits: NaN has many encodings
            return {"$float": struct.pack(">d", value).hex()}
        return value

    def _encode_tensor(self, tensor: LazyTensor, name: str) -> Any:
        """Add a tensor under its name, or refer to the tied tensor that was added before."""
        kept = self._names.setdefault((id(tensor.blob), tensor.dtype), name)
        if kept != name:
            return {"$tied": [kept, list(tensor.shape)]}
        if name in self.tensors:
            raise CheckpointError("unsupported-by-safetensors",
                                  f"Two tensors of the model have the same name in a safetensors file: {name!r}",
                                  "rename one of them in the model")
        self.tensors[name] = tensor
        return {"$tensor": name}


def unflatten(text: str, tensors: Mapping[str, LazyTensor], files: Mapping[str, str]) -> dict[Any, Any]:
    """Restore the content of a `Flattened`.

    Args:
        text: its JSON structure.
        tensors: its tensors by name.
        files: strings that were written to separate files, by file name.

    Raises:
        CheckpointError: if the structure is invalid, or does not match the tensors and files.
    """
    unflattener = _Unflattener(tensors, files)
    try:
        content = unflattener.decode(json.loads(text))
        if not isinstance(content, dict):
            raise TypeError("expected a mapping")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, struct.error) as exc:
        raise CheckpointError("damaged-release",
                              f"invalid JSON structure in the metadata ({type(exc).__name__}: {exc})",
                              "export again") from exc
    surplus = [name for name in tensors if name not in unflattener.used]
    if surplus:
        raise CheckpointError("damaged-release", f"unreferenced tensors: {listing(surplus)}",
                              "export again")
    return content


class _Unflattener:
    """Restore nested values; `used` collects the names of the tensors that they refer to."""

    def __init__(self, tensors: Mapping[str, LazyTensor], files: Mapping[str, str]) -> None:
        self._tensors, self._files = tensors, files
        self.used: set[str] = set()

    def decode(self, value: Any, depth: int = 0) -> Any:
        if depth > 2 * MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        kind = next(iter(value), "")
        if kind.startswith(MARK):
            if len(value) > 1:
                raise ValueError(f"unexpected keys next to {kind}")
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
