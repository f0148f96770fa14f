"""The globals that a pickle of a checkpoint may use, each with the function that replaces it.

All results are inert: plain data, descriptions of tensors, unknown globals.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from pickle import UnpicklingError
from typing import Any, Callable, Optional, Union

from ..storage.lazy_bytes import LazyBytes
from .limits import MAX_DIMENSIONS, MAX_HASHED_ITEMS, MAX_HASHED_NUMBER
from .numpy_scalars import CODES, NumpyDtype
from .tensor import DTYPES, ITEMSIZE, NEW_DTYPES, LazyTensor, are_sizes


@dataclass(eq=False)
class UnknownGlobal:
    """Inert placeholder for a global that is not allowed, or for the result of calling one."""

    name: str
    is_attribute: bool = False  # whether it is an attribute of another global, such as a member of an enumeration


@dataclass(eq=False)
class AllowedGlobal(UnknownGlobal):
    """An allowed global: the function `make` replaces it; without `make` it is inert like an unknown global."""

    make: Optional[Callable[..., Any]] = None


@dataclass(frozen=True, eq=False)
class Storage:
    """A torch storage class or dtype; with `blob`, a storage and its bytes."""

    dtype: str
    blob: Optional[LazyBytes] = None


@dataclass(eq=False)
class UnknownCall(UnknownGlobal):
    """Placeholder for an unknown global called with one argument, which is how pickle stores an enumeration."""

    value: Any = None
    is_changed: bool = False  # whether the pickle changed it afterwards, which it never does with an enumeration


@dataclass(eq=False)
class SetItems:
    """The items of a set in the order of the file."""

    items: list[Any]
    name: str = "builtins.set"


class Node:
    """The state of a node of an OmegaConf configuration, or of an argparse namespace."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Mapping[Any, Any] = {}

    def build(self, state: Any) -> None:
        """Store the state from the pickle.

        Raises:
            UnpicklingError: if the state is not a dict, or is set twice.
        """
        if not isinstance(state, dict) or self.state:
            raise UnpicklingError("invalid state of a configuration node")
        self.state = state


class _NamespaceNode(Node):
    """The state of an argparse namespace, which is the configuration of a Dora main without Hydra."""

    def build(self, state: Any) -> None:
        super().build(state)
        self.state = {"_content": state}


def describe_type(value: Any) -> str:
    """Describe an unexpected value for a message: its type, such as `a list`, or the name of an unknown global."""
    if isinstance(value, (UnknownGlobal, SetItems)):
        return value.name
    if value is None:
        return "None"
    name = type(value).__name__.removeprefix("Lazy").lower()
    return f"{'an' if name.startswith(tuple('aeiou')) else 'a'} {name}"


def to_key(value: Any) -> Any:
    """Return a value as a dict key, or an unknown global if hashing may be slow (nested tuples, colliding numbers).

    Raises:
        UnpicklingError: if the value cannot be hashed.
    """
    if isinstance(value, (list, dict)):
        raise UnpicklingError(f"dict key of type {type(value).__name__}")
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, tuple) else (value,)
    quick = len(parts) <= MAX_HASHED_ITEMS and all(map(_is_quickly_hashed, parts))
    return value if quick else UnknownGlobal("a large dict key")


def _is_quickly_hashed(value: Any) -> bool:
    """Return whether hashing a value takes constant time and collides rarely."""
    if isinstance(value, (int, float)):
        return -MAX_HASHED_NUMBER < value < MAX_HASHED_NUMBER
    return not isinstance(value, (tuple, list, dict))


def _dict(*args: Any) -> Any:
    """Create a dict for a dict or OrderedDict of the pickle, from dicts or lists of pairs."""
    found: dict[Any, Any] = {}
    for items in args:
        if isinstance(items, UnknownGlobal):
            return items
        if not isinstance(items, (dict, list, tuple)):
            raise UnpicklingError(f"dict made from {type(items).__name__}")
        pairs = items.items() if isinstance(items, dict) else items
        found.update((to_key(name), value) for name, value in pairs)
    return found


def _encode(text: str, encoding: str) -> bytes:
    """Create bytes from the string in which pickle protocol 2 stores them."""
    if encoding != "latin1":
        raise UnpicklingError(f"unexpected encoding {encoding} of bytes")
    return text.encode(encoding)


def _set(items: Any = ()) -> Any:
    """Create the items of a set or frozenset, in the order of the file."""
    if isinstance(items, UnknownGlobal):
        return items
    if not isinstance(items, (list, tuple)):
        raise UnpicklingError(f"set made from {type(items).__name__}")
    return SetItems([*items])


def _device(kind: Any, index: Optional[int] = None) -> Any:
    """Return the string form of a torch.device."""
    if not isinstance(kind, str) or not isinstance(index, (int, type(None))):
        raise UnpicklingError("invalid torch.device")
    return kind if index is None else f"{kind}:{index}"


def is_class_name(name: str) -> bool:
    """Return whether a global is named like a class or a member of an enumeration, and not like a function."""
    return name.rpartition(".")[2][:1].isupper()


def _getattr(owner: Any, name: Any) -> UnknownGlobal:
    """Look up a nested class (protocol 2) or a member of an enumeration by name (Python 3.11.0 to 3.11.4)."""
    is_class = type(owner) is UnknownGlobal and is_class_name(owner.name)
    if is_class and isinstance(name, str):
        return UnknownGlobal(f"{owner.name}.{name}", is_attribute=True)
    return UnknownGlobal("builtins.getattr")


def _or(left: Any, right: Any) -> UnknownGlobal:
    """Combine the names of two enum flags, such as `Flag.A|B`; the pickle stores them in reverse order."""
    if all(isinstance(flag, UnknownGlobal) and flag.is_attribute for flag in (left, right)):
        return UnknownGlobal(f"{right.name}|{left.name.rpartition('.')[2]}", is_attribute=True)
    return UnknownGlobal("operator.or_")


def _of_python(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a class of the standard library: if an argument is an unknown global, the result is that argument."""
    def make(*args: Any) -> Any:
        return next((arg for arg in args if isinstance(arg, UnknownGlobal)), None) or kind(*args)
    return make


def _numpy_dtype(code: Any, *flags: Any) -> Union[NumpyDtype, UnknownGlobal]:
    """Return the numpy dtype named `code`, such as `f8`; only dtypes of real numbers are known."""
    if isinstance(code, str) and code in CODES:
        return NumpyDtype(code)
    return UnknownGlobal(f"numpy.dtype {code}" if isinstance(code, str) else "numpy.dtype")


def _numpy_scalar(dtype: Any, data: Any = b"") -> Any:
    """Convert a numpy scalar to a Python number; return an unknown global if its dtype is unknown."""
    if isinstance(dtype, UnknownGlobal):
        return dtype
    if not isinstance(dtype, NumpyDtype):
        raise UnpicklingError("numpy scalar without a dtype")
    number = dtype.decode(data)
    return UnknownGlobal(f"numpy.dtype {dtype.code}") if number is None else number


def _rebuild_tensor_v2(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, metadata
    return _tensor((storage, storage), offset, shape, stride, *rest[2:])


def _rebuild_tensor_v3(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, dtype, metadata
    return _tensor((storage, rest[2]), offset, shape, stride, *rest[3:])


def _tensor(kinds: tuple[Any, Any], offset: Any, shape: Any, stride: Any, metadata: Any = None) -> Any:
    """Describe a tensor.

    Args:
        kinds: the storage that has the bytes, and the storage or dtype that has the dtype; if one is an unknown global,
            so is the tensor.
        offset: in elements, as `shape` and `stride`.
        shape: the sizes.
        stride: the strides.
        metadata: the lazy operations on the elements (`conj`, `neg`).

    Raises:
        UnpicklingError: if the description is invalid, or exceeds the storage.
    """
    for kind in kinds:
        if isinstance(kind, UnknownGlobal):
            return kind
    blob, dtype = kinds[0].blob, kinds[1].dtype
    if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS or not are_sizes((*shape, *stride, offset)):
        raise UnpicklingError("tensor with invalid offset, shape or stride")
    tensor = LazyTensor(blob, dtype, offset, tuple(shape), tuple(stride), **_flags(metadata, dtype))
    span = tensor.span
    if span and (offset + span) * ITEMSIZE[dtype] > blob.nbytes:  # torch stores any offset if empty
        raise UnpicklingError("tensor exceeds its storage")
    return tensor


def _flags(metadata: Any, dtype: str) -> dict[str, bool]:
    """Return the lazy operations of a tensor (`conj`, `neg`); torch applies each key, whatever its value."""
    if not metadata:
        return {}
    flags = {name: metadata[name] for name in ("conj", "neg") if isinstance(metadata, dict) and name in metadata}
    if not isinstance(metadata, dict) or any(value is not True for value in flags.values()) \
            or "conj" in flags and "complex" not in dtype or "neg" in flags and dtype not in _NEGATED:
        raise UnpicklingError("tensor with invalid metadata")
    return flags


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, state
    _refuse_other_values(*rest[2:])
    return data


def _rebuild_from_type_v2(func: Any, kind: Any, args: Any, state: Any) -> Any:
    """Rebuild a tensor of a given type; return an unknown global unless the type is a plain tensor."""
    if kind not in _TENSOR_TYPES:
        return kind
    _refuse_other_values(state)
    return func.make(*args) if isinstance(func, AllowedGlobal) and func.make else func


def _refuse_other_values(state: Any = None) -> None:
    """Refuse attributes, including slots, with which torch would replace the values of a tensor."""
    for attributes in state if isinstance(state, tuple) else (state,):
        if isinstance(attributes, dict) and not _VALUES.isdisjoint(attributes):
            raise UnpicklingError("tensor attribute that replaces its values")


CONSTANT_TIME = frozenset({_rebuild_tensor_v2, _rebuild_tensor_v3})  # whatever the size of each argument
_VALUES = frozenset({"data", "real", "imag"})
_NEGATED = frozenset({"float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"})
TORCH_DTYPES = (*(name for name, _ in DTYPES.values()), "quint8", "qint8", "qint32", "quint4x2", "quint2x4")
_PATHLIB = ("pathlib", "pathlib._local")
# The function that replaces each global, by module. Globals without a function occur around configurations and tensors,
# and a release does not need them.
_MAKERS: tuple[tuple[Optional[Callable[..., Any]], Mapping[str, str]], ...] = (
    (_dict, {"builtins": "dict", "__builtin__": "dict", "collections": "OrderedDict"}),
    (lambda factory=None, *args: _dict(*args), {"collections": "defaultdict"}),
    (Node, {"omegaconf.dictconfig": "DictConfig", "omegaconf.listconfig": "ListConfig",
            "omegaconf.base": "ContainerMetadata Metadata UnionNode",
            "omegaconf.nodes": "AnyNode UntypedNode EnumNode StringNode PathNode IntegerNode BytesNode FloatNode "
                               "BooleanNode"}),
    (_NamespaceNode, {"argparse": "Namespace", "types": "SimpleNamespace"}),
    (_getattr, {"builtins": "getattr", "__builtin__": "getattr"}),
    (_or, {"operator": "or_", "_operator": "or_"}),
    (lambda *parts: str(PurePosixPath(*parts)), dict.fromkeys(_PATHLIB, "PosixPath PurePosixPath")),
    (lambda *parts: str(PureWindowsPath(*parts)), dict.fromkeys(_PATHLIB, "WindowsPath PureWindowsPath")),
    (_set, {"builtins": "set frozenset", "__builtin__": "set frozenset"}),
    (_device, {"torch": "device"}),
    *((_of_python(getattr(datetime, name)), {"datetime": name}) for name in (
        "date", "datetime", "time", "timedelta", "timezone")),
    (_of_python(complex), {"builtins": "complex", "__builtin__": "complex"}),
    (_encode, {"_codecs": "encode"}),
    (_numpy_dtype, {"numpy": "dtype"}),
    (_numpy_scalar, {"numpy.core.multiarray": "scalar", "numpy._core.multiarray": "scalar"}),
    (_rebuild_tensor_v2, {"torch._utils": "_rebuild_tensor_v2"}),
    (_rebuild_tensor_v3, {"torch._utils": "_rebuild_tensor_v3"}),
    (_rebuild_parameter, {"torch._utils": "_rebuild_parameter _rebuild_parameter_with_state"}),
    (_rebuild_from_type_v2, {"torch._tensor": "_rebuild_from_type_v2"}),
    (lambda *args: tuple(args[0]) if args else (), {"torch": "Size"}),
    (None, {"torch": " ".join(["Tensor", *TORCH_DTYPES])}),
    (None, {"torch.nn.parameter": "Parameter", "typing": "Any Dict List Optional Tuple Union",
            "builtins": "bool bytes float int list str tuple type",
            "__builtin__": "bool bytes float int list long str tuple type unicode"}),
)
SAFE_GLOBALS: Mapping[tuple[str, str], Any] = {
    **{(module, name): AllowedGlobal(f"{module}.{name}", make=make)
       for make, modules in _MAKERS for module, names in modules.items() for name in names.split()},
    ("torch.storage", "UntypedStorage"): Storage("uint8"),
    **{("torch", name): Storage(dtype) for name, (dtype, _) in DTYPES.items()},
    **{("torch", name): Storage(name) for name in NEW_DTYPES},
}
_TENSOR_TYPES = (SAFE_GLOBALS["torch", "Tensor"], SAFE_GLOBALS["torch.nn.parameter", "Parameter"])
