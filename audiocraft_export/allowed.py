"""What may stand in the pickle of a checkpoint, name by name, and what it is taken for.

Everything here is inert: plain data, descriptions of tensors, strangers. A pickle can neither look into
what it calls nor change it.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Callable, Optional

from .archive import Blob
from .tensor import DTYPES, ITEMSIZE, NEW_DTYPES, Tensor


class Stranger(type):
    """Stands for whatever a global outside the list would have made; does nothing.

    Each is a class named as the global, and stays that class whatever a pickle does to it: pickles call
    what they find, and make instances only of classes.
    """

    def __new__(cls, name: str) -> Stranger:
        return super().__new__(cls, name, (), {"__new__": lambda stranger, *args, **kwargs: stranger})

    def __init__(cls, name: str) -> None:
        super().__init__(name, (), {})

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls

    def _swallow(cls, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _swallow


class Dict(dict):  # type: ignore[type-arg]
    """A dict (ordered, default) without the attributes that a pickle may hang on it."""

    def __new__(cls, *args: Any) -> Dict:
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        super().__init__(*(arg for arg in args if isinstance(arg, list)))

    def __setstate__(self, state: Any) -> None:
        pass


class Node:
    """A node of an OmegaConf configuration, or an argparse namespace: its state, and nothing else."""

    state: Mapping[Any, Any] = {}

    def __new__(cls, *args: Any) -> Node:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class Namespace(Node):
    """An `argparse.Namespace`, the configuration of a Dora main without Hydra."""

    def __setstate__(self, state: Any) -> None:
        super().__setstate__({"_content": state})


class Maker:
    """What a pickle may call: a function, which it can neither look into nor change."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a pickle that changes what it calls")


def _path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding}")
    return text.encode(encoding)


def _rebuild_tensor_v2(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, metadata
    return _tensor(storage, storage, offset, shape, stride, *rest[2:])


def _rebuild_tensor_v3(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, dtype, metadata
    return _tensor(storage, rest[2], offset, shape, stride, *rest[3:])


def _tensor(storage: Any, kind: Any, offset: Any, shape: Any, stride: Any, metadata: Any = None) -> Any:
    for unknown in (storage, kind):
        if isinstance(unknown, Stranger):
            return unknown
    blob, dtype = storage.blob, kind.dtype
    numbers = [offset, *shape, *stride]
    if not all(type(number) is int and number >= 0 for number in numbers) or len(shape) != len(stride):
        raise pickle.UnpicklingError("a tensor with an impossible shape")
    metadata = metadata or {}
    tensor = Tensor(blob, dtype, offset, tuple(shape), tuple(stride),
                    conj=bool(metadata.get("conj")), neg=bool(metadata.get("neg")))
    if (offset + tensor.span) * ITEMSIZE[dtype] > blob.nbytes:
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    return tensor


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    return data


def _rebuild_from_type_v2(func: Any, kind: Any, args: Any, state: Any) -> Any:
    return func(*args) if kind in _TENSOR_TYPES else kind


class Storage:
    """A storage class, or a storage of it once it has bytes."""

    __slots__ = ("dtype", "blob")

    def __init__(self, dtype: str, blob: Optional[Blob] = None) -> None:
        self.dtype, self.blob = dtype, blob

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a pickle that changes a storage")


_TENSOR_TYPES = (Stranger("torch.Tensor"), Stranger("torch.nn.parameter.Parameter"))
# Names that may stand around a configuration or a tensor and mean nothing for a release.
_MEANINGLESS = {
    ("torch", "Tensor"): _TENSOR_TYPES[0], ("torch.nn.parameter", "Parameter"): _TENSOR_TYPES[1],
    **{(module, name): Stranger(f"{module}.{name}") for module, names in {
        "typing": ("Any", "Dict", "List", "Optional", "Tuple", "Union"),
        "builtins": ("bool", "bytes", "float", "str", "tuple", "type"),
        "__builtin__": ("bool", "bytes", "float", "str", "tuple", "type", "unicode"),
    }.items() for name in names},
}

ALLOWED: Mapping[tuple[str, str], Any] = {
    **{(module, name): value for module in ("builtins", "__builtin__")
       for name, value in {"dict": dict, "list": list, "int": int}.items()},
    ("__builtin__", "long"): int,
    ("collections", "OrderedDict"): Dict,
    ("collections", "defaultdict"): Dict,
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
    ("pathlib", "PosixPath"): Maker(_path),
    ("pathlib._local", "PosixPath"): Maker(_path),
    ("_codecs", "encode"): Maker(_encode),
    ("torch._utils", "_rebuild_tensor_v2"): Maker(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): Maker(_rebuild_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): Maker(_rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Maker(_rebuild_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): Maker(_rebuild_from_type_v2),
    ("torch", "Size"): tuple,
    ("torch.storage", "UntypedStorage"): Storage("uint8"),
    **{("torch", name): Storage(dtype) for name, (dtype, _) in DTYPES.items()},
    **{("torch", name): Storage(name) for name in NEW_DTYPES},
    **_MEANINGLESS,
}
