"""What may stand in the pickle of a checkpoint, name by name, and what it is taken for.

Everything here is inert: plain data, descriptions of tensors, unknown_globals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from pickle import UnpicklingError
from typing import Any, Callable, Optional

from ..storage.lazy_bytes import LazyBytes
from .tensor import DTYPES, ITEMSIZE, NEW_DTYPES, LazyTensor, is_shape

_MOST_KEY = 1 << 61  # beyond it, Python gives many numbers the same hash


@dataclass(eq=False)
class UnknownGlobal:
    """Stands for whatever a global outside the list would have made; does nothing.

    Args:
        name: of the global.
    """

    name: str


@dataclass(eq=False)
class AllowedGlobal(UnknownGlobal):
    """A global of the list: without `make` it means nothing, and is what calling it gives, as a stranger is.

    Args:
        name: of the global.
        make: what is done in place of calling it.
    """

    make: Optional[Callable[..., Any]] = None


@dataclass(frozen=True, eq=False)
class Storage:
    """A storage class, or a dtype, or a storage once it has bytes.

    Args:
        dtype: name of the element type.
        blob: the bytes.
    """

    dtype: str
    blob: Optional[LazyBytes] = None


class Node:
    """A node of an OmegaConf configuration, or an argparse namespace: its state, and nothing else."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Mapping[Any, Any] = {}

    def build(self, state: Any) -> None:
        """Take the state that the pickle gives it.

        Raises:
            UnpicklingError: if it is none, or the second one.
        """
        if not isinstance(state, dict) or self.state:
            raise UnpicklingError("a configuration that is not built as one")
        self.state = state


class Namespace(Node):
    """An `argparse.Namespace`, the configuration of a Dora main without Hydra."""

    def build(self, state: Any) -> None:
        """Take the attributes that the pickle gives it; raises as its base."""
        super().build(state)
        self.state = {"_content": state}


def key(value: Any) -> Any:
    """What a pickle uses as a key; a stranger where hashing may take long: nested tuples, numbers made to collide.

    Raises:
        UnpicklingError: if it can be none.
    """
    if isinstance(value, (list, dict)):
        raise UnpicklingError(f"a key that is a {type(value).__name__}")
    parts = value if isinstance(value, tuple) else (value,)
    return value if len(parts) <= 16 and all(map(_is_quickly_hashed, parts)) else UnknownGlobal("a large key")


def _is_quickly_hashed(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return -_MOST_KEY < value < _MOST_KEY
    return not isinstance(value, (tuple, list, dict))


def _dict(*args: Any) -> Any:
    """A dict, ordered or not, of another one or of pairs."""
    found: dict[Any, Any] = {}
    for items in args:
        if isinstance(items, UnknownGlobal):
            return items
        if not isinstance(items, (dict, list, tuple)):
            raise UnpicklingError(f"a dict of a {type(items).__name__}")
        pairs = items.items() if isinstance(items, dict) else items
        found.update((key(name), value) for name, value in pairs)
    return found


def _default_dict(*args: Any) -> Any:
    return _dict(*args[1:])  # the first makes what is not there yet


def _path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise UnpicklingError(f"bytes in the encoding {encoding}")
    return text.encode(encoding)


def _size(*args: Any) -> tuple[Any, ...]:
    return tuple(args[0]) if args else ()


def _rebuild_tensor_v2(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, metadata
    return _tensor(storage, storage, offset, shape, stride, *rest[2:])


def _rebuild_tensor_v3(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, dtype, metadata
    return _tensor(storage, rest[2], offset, shape, stride, *rest[3:])


def _tensor(storage: Any, kind: Any, offset: Any, shape: Any, stride: Any, metadata: Any = None) -> Any:
    for unknown in (storage, kind):
        if isinstance(unknown, UnknownGlobal):
            return unknown
    blob, dtype = storage.blob, kind.dtype
    if not all(map(is_shape, ([offset], shape, stride))) or len(shape) != len(stride):
        raise UnpicklingError("a tensor with an impossible shape")
    metadata = metadata or {}
    tensor = LazyTensor(blob, dtype, offset, tuple(shape), tuple(stride),
                    conj=bool(metadata.get("conj")), neg=bool(metadata.get("neg")))
    if (offset + tensor.span) * ITEMSIZE[dtype] > blob.nbytes:
        raise UnpicklingError("a tensor that reaches beyond its storage")
    return tensor


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    return data


def _rebuild_from_type_v2(func: Any, kind: Any, args: Any, state: Any) -> Any:
    if kind not in _TENSOR_TYPES:
        return kind
    return func.make(*args) if isinstance(func, AllowedGlobal) and func.make else func


_TENSOR_TYPES = (AllowedGlobal("torch.Tensor"), AllowedGlobal("torch.nn.parameter.Parameter"))
_MAKERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "dict"): _dict,
    ("__builtin__", "dict"): _dict,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _default_dict,
    ("omegaconf.dictconfig", "DictConfig"): Node,
    ("omegaconf.listconfig", "ListConfig"): Node,
    ("omegaconf.base", "ContainerMetadata"): Node,
    ("omegaconf.base", "Metadata"): Node,
    ("omegaconf.base", "UnionNode"): Node,
    ("omegaconf.nodes", "AnyNode"): Node,
    ("omegaconf.nodes", "EnumNode"): Node,
    ("omegaconf.nodes", "StringNode"): Node,
    ("omegaconf.nodes", "PathNode"): Node,
    ("omegaconf.nodes", "IntegerNode"): Node,
    ("omegaconf.nodes", "BytesNode"): Node,
    ("omegaconf.nodes", "FloatNode"): Node,
    ("omegaconf.nodes", "BooleanNode"): Node,
    ("argparse", "Namespace"): Namespace,
    ("pathlib", "PosixPath"): _path,
    ("pathlib._local", "PosixPath"): _path,
    ("_codecs", "encode"): _encode,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type_v2,
    ("torch", "Size"): _size,
}
# Names that may stand around a configuration or a tensor and mean nothing for a release.
_MEANINGLESS: Mapping[str, tuple[str, ...]] = {
    "typing": ("Any", "Dict", "List", "Optional", "Tuple", "Union"),
    "builtins": ("bool", "bytes", "float", "int", "list", "str", "tuple", "type"),
    "__builtin__": ("bool", "bytes", "float", "int", "list", "long", "str", "tuple", "type", "unicode"),
}

SAFE_GLOBALS: Mapping[tuple[str, str], Any] = {
    **{(module, name): AllowedGlobal(f"{module}.{name}", make) for (module, name), make in _MAKERS.items()},
    **{(module, name): AllowedGlobal(f"{module}.{name}") for module, names in _MEANINGLESS.items() for name in names},
    ("torch", "Tensor"): _TENSOR_TYPES[0],
    ("torch.nn.parameter", "Parameter"): _TENSOR_TYPES[1],
    ("torch.storage", "UntypedStorage"): Storage("uint8"),
    **{("torch", name): Storage(dtype) for name, (dtype, _) in DTYPES.items()},
    **{("torch", name): Storage(name) for name in NEW_DTYPES},
}
