"""The globals that may stand in the pickle of a checkpoint, and what each is replaced by.

Everything here is inert: plain data, descriptions of tensors, unknown globals.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from pickle import UnpicklingError
from typing import Any, Callable, Optional, Union

from ..storage.lazy_bytes import LazyBytes
from .limits import MAX_HASHED_ITEMS, MAX_HASHED_NUMBER
from .numpy_scalars import CODES, NumpyDtype
from .tensor import DTYPES, ITEMSIZE, NEW_DTYPES, LazyTensor, is_shape


@dataclass(eq=False)
class UnknownGlobal:
    """A global outside the list, or what would have been made with it; does nothing."""

    name: str
    is_attribute: bool = False  # whether it was looked up in another one, as a member of an enumeration


@dataclass(eq=False)
class AllowedGlobal(UnknownGlobal):
    """A global of the list: `make` is called in its place; without it the global is as inert as an unknown one."""

    make: Optional[Callable[..., Any]] = None


@dataclass(frozen=True, eq=False)
class Storage:
    """A storage class, or a dtype; with `blob`, its bytes, a storage."""

    dtype: str
    blob: Optional[LazyBytes] = None


@dataclass(eq=False)
class UnknownCall(UnknownGlobal):
    """What calling an unknown global with one argument would have made: this is how an enumeration is stored."""

    value: Any = None
    is_changed: bool = False  # by the pickle, afterwards: then it is no enumeration


@dataclass(eq=False)
class SetItems:
    """The items of a set, in the order of the file."""

    items: list[Any]
    name: str = "builtins.set"


class Node:
    """A node of an OmegaConf configuration, or an argparse namespace: its state, and nothing else."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Mapping[Any, Any] = {}

    def build(self, state: Any) -> None:
        """Take the state that the pickle gives it; raises `UnpicklingError` if it is no dict, or the second one."""
        if not isinstance(state, dict) or self.state:
            raise UnpicklingError("a configuration that is not built as one")
        self.state = state


class _NamespaceNode(Node):
    """A namespace, such as the configuration of a Dora main without Hydra."""

    def build(self, state: Any) -> None:
        super().build(state)
        self.state = {"_content": state}


def to_key(value: Any) -> Any:
    """A dict key; an unknown global where hashing may take long: nested tuples, numbers made to collide.

    Raises:
        UnpicklingError: if it cannot be hashed.
    """
    if isinstance(value, (list, dict)):
        raise UnpicklingError(f"a key that is a {type(value).__name__}")
    parts = value if isinstance(value, tuple) else (value,)
    quick = len(parts) <= MAX_HASHED_ITEMS and all(map(_is_quickly_hashed, parts))
    return value if quick else UnknownGlobal("a large key")


def _is_quickly_hashed(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return -MAX_HASHED_NUMBER < value < MAX_HASHED_NUMBER
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
        found.update((to_key(name), value) for name, value in pairs)
    return found


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise UnpicklingError(f"bytes in the encoding {encoding}")
    return text.encode(encoding)


def _set(items: Any = ()) -> Any:
    if isinstance(items, UnknownGlobal):
        return items
    if not isinstance(items, (list, tuple)):
        raise UnpicklingError(f"a set of a {type(items).__name__}")
    return SetItems([*items])


def _device(kind: Any, index: Optional[int] = None) -> Any:
    """The text of a torch.device."""
    if not isinstance(kind, str) or not isinstance(index, (int, type(None))):
        raise UnpicklingError("a torch.device without a type")
    return kind if index is None else f"{kind}:{index}"


def _getattr(owner: Any, name: Any) -> UnknownGlobal:
    """A nested class in protocol 2, or a member of an enumeration by its name, as Python 3.11.0 to 3.11.4 stores it."""
    is_class = type(owner) is UnknownGlobal and owner.name.rpartition(".")[2][:1].isupper()
    if is_class and isinstance(name, str):
        return UnknownGlobal(f"{owner.name}.{name}", is_attribute=True)
    return UnknownGlobal("builtins.getattr")


def _or(left: Any, right: Any) -> UnknownGlobal:
    """Several flags, each by its name; the pickle has the first one last."""
    if all(isinstance(flag, UnknownGlobal) and flag.is_attribute for flag in (left, right)):
        return UnknownGlobal(f"{right.name}|{left.name.rpartition('.')[2]}", is_attribute=True)
    return UnknownGlobal("operator.or_")


def _of_python(kind: Callable[..., Any]) -> Callable[..., Any]:
    """A maker of a date, time, duration, time zone or complex number of Python, from what it stores itself."""
    def make(*args: Any) -> Any:
        return next((arg for arg in args if isinstance(arg, UnknownGlobal)), None) or kind(*args)
    return make


def _numpy_dtype(code: Any, *flags: Any) -> Union[NumpyDtype, UnknownGlobal]:
    """The dtype of real numbers by its name, such as `f8`; any other is unknown."""
    if isinstance(code, str) and code in CODES:
        return NumpyDtype(code)
    return UnknownGlobal(f"numpy.dtype {code}" if isinstance(code, str) else "numpy.dtype")


def _numpy_scalar(dtype: Any, data: Any = b"") -> Any:
    """The number that a scalar of numpy is; unknown if its dtype is."""
    if isinstance(dtype, UnknownGlobal):
        return dtype
    if not isinstance(dtype, NumpyDtype):
        raise UnpicklingError("a scalar of numpy without a dtype")
    number = dtype.decode(data)
    return UnknownGlobal(f"numpy.dtype {dtype.code}") if number is None else number


def _rebuild_tensor_v2(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, metadata
    return _tensor((storage, storage), offset, shape, stride, *rest[2:])


def _rebuild_tensor_v3(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, dtype, metadata
    return _tensor((storage, rest[2]), offset, shape, stride, *rest[3:])


def _tensor(kinds: tuple[Any, Any], offset: Any, shape: Any, stride: Any, metadata: Any = None) -> Any:
    """A tensor, by what gives its bytes and what gives its dtype; unknown if one of them is."""
    for kind in kinds:
        if isinstance(kind, UnknownGlobal):
            return kind
    blob, dtype = kinds[0].blob, kinds[1].dtype
    if not all(map(is_shape, ([offset], shape, stride))) or len(shape) != len(stride):
        raise UnpicklingError("a tensor with an impossible shape")
    tensor = LazyTensor(blob, dtype, offset, tuple(shape), tuple(stride), **_flags(metadata, dtype))
    if (offset + tensor.span) * ITEMSIZE[dtype] > blob.nbytes:
        raise UnpicklingError("a tensor that reaches beyond its storage")
    return tensor


def _flags(metadata: Any, dtype: str) -> dict[str, bool]:
    """What torch still has to do with the elements; it does so for a name that is there, whatever its value."""
    if not metadata:
        return {}
    flags = {name: metadata[name] for name in ("conj", "neg") if isinstance(metadata, dict) and name in metadata}
    if not isinstance(metadata, dict) or any(value is not True for value in flags.values()) \
            or "conj" in flags and "complex" not in dtype or "neg" in flags and dtype not in _NEGATED:
        raise UnpicklingError("a tensor with impossible metadata")
    return flags


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, state
    _refuse_other_values(*rest[2:])
    return data


def _rebuild_from_type_v2(func: Any, kind: Any, args: Any, state: Any) -> Any:
    if kind not in _TENSOR_TYPES:
        return kind
    _refuse_other_values(state)
    return func.make(*args) if isinstance(func, AllowedGlobal) and func.make else func


def _refuse_other_values(state: Any = None) -> None:
    """Refuse attributes, also those of slots, by which torch gives a tensor the values of another one."""
    for attributes in state if isinstance(state, tuple) else (state,):
        if isinstance(attributes, dict) and not _VALUES.isdisjoint(attributes):
            raise UnpicklingError("a tensor with an attribute that changes its values")


_VALUES = frozenset({"data", "real", "imag"})
_NEGATED = frozenset({"float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"})
TORCH_DTYPES = (*(name for name, _ in DTYPES.values()), "quint8", "qint8", "qint32", "quint4x2", "quint2x4")
_PATHLIB = ("pathlib", "pathlib._local")
# What is made in place of which globals, by module. Those without a maker may stand around a configuration or a tensor
# and mean nothing for a release.
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
