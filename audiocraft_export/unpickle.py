"""Reading a pickle without running it.

Nothing that a pickle names is ever imported or called. The names on the list below, written out
one by one, stand for plain data; every other becomes an inert stranger that swallows what the pickle
does to it and remembers what it was called. So a checkpoint is read where the code of its training
does not exist any more, and a hostile one without consequence.

`torch.load(weights_only=True)` was broken twice (CVE-2025-32434, CVE-2026-24747) and knows neither
omegaconf nor strangers.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Callable, Optional

from .archive import Blob
from .errors import CheckpointError
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


class Mark:
    """A name that may stand in a pickle and means nothing for a release, such as `typing.Any`."""


def _path(*parts: Any) -> str:
    return "/".join(str(part) for part in parts).replace("//", "/")


def _rebuild_tensor_v2(storage: Any, offset: Any, shape: Any, stride: Any,
                       requires_grad: Any = None, hooks: Any = None, metadata: Any = None) -> Tensor:
    blob, dtype = storage
    return _tensor(blob, dtype, offset, shape, stride, metadata)


def _rebuild_tensor_v3(storage: Any, offset: Any, shape: Any, stride: Any,
                       requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None) -> Tensor:
    blob, _ = storage
    return _tensor(blob, dtype, offset, shape, stride, metadata)


def _tensor(blob: Blob, dtype: Any, offset: Any, shape: Any, stride: Any, metadata: Any) -> Tensor:
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
    return func(*args) if kind is Mark else kind


ALLOWED: Mapping[tuple[str, str], Any] = {
    **{(module, name): value for module in ("builtins", "__builtin__")
       for name, value in {"dict": dict, "list": list, "int": int}.items()},
    ("__builtin__", "long"): int,
    ("collections", "OrderedDict"): Dict,
    ("collections", "defaultdict"): Dict,
    ("typing", "Any"): Mark,
    ("omegaconf.dictconfig", "DictConfig"): Node,
    ("omegaconf.listconfig", "ListConfig"): Node,
    ("omegaconf.base", "ContainerMetadata"): Node,
    ("omegaconf.base", "Metadata"): Node,
    ("omegaconf.base", "UnionNode"): Node,
    ("omegaconf.nodes", "AnyNode"): Node,
    ("omegaconf.nodes", "StringNode"): Node,
    ("omegaconf.nodes", "PathNode"): Node,
    ("omegaconf.nodes", "IntegerNode"): Node,
    ("omegaconf.nodes", "BytesNode"): Node,
    ("omegaconf.nodes", "FloatNode"): Node,
    ("omegaconf.nodes", "BooleanNode"): Node,
    ("argparse", "Namespace"): Namespace,
    ("pathlib", "PosixPath"): _path,
    ("pathlib._local", "PosixPath"): _path,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type_v2,
    ("torch", "Tensor"): Mark,
    ("torch.nn.parameter", "Parameter"): Mark,
    ("torch", "Size"): tuple,
    ("torch.storage", "UntypedStorage"): ("uint8", 1),
    **{("torch", name): value for name, value in DTYPES.items()},
    **{("torch", name): name for name in NEW_DTYPES},
}


def unpickle(data: bytes, find_storage: Callable[[str], Blob], where: str) -> tuple[Any, list[str]]:
    """Read a pickle of `torch.save` as plain data, `Tensor`s, `Node`s and `Stranger`s.

    Args:
        data: the pickle.
        find_storage: gives the bytes of a storage by its key.
        where: what to call the file in an error.

    Returns:
        What the pickle holds, and the sorted names of the strangers in it.

    Raises:
        CheckpointError: if it is no such pickle.
    """
    unpickler = _Unpickler(data, find_storage)
    try:
        return unpickler.load(), sorted(unpickler.strangers)
    except CheckpointError:
        raise
    except RecursionError as exc:
        raise CheckpointError(f"{where} is nested too deeply to be a checkpoint.") from exc
    except Exception as exc:  # a damaged pickle may raise anything
        strangers = f"; it names {', '.join(sorted(unpickler.strangers))}" if unpickler.strangers else ""
        raise CheckpointError(f"{where} is damaged, or not written by torch.save "
                              f"({type(exc).__name__}: {exc}{strangers}): nothing in it was run.") from exc


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, find_storage: Callable[[str], Blob]) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._find_storage = find_storage
        self.strangers: dict[str, Stranger] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = ALLOWED.get((module, name))
        if known is not None:
            return known
        full = f"{module}.{name}"
        return self.strangers.setdefault(full, Stranger(full))

    def persistent_load(self, pid: Any) -> tuple[Blob, Optional[str]]:
        kind, storage_type, key, _, numel = pid
        dtype, itemsize = storage_type
        if kind != "storage" or not isinstance(key, str) or type(numel) is not int:
            raise pickle.UnpicklingError("a persistent id that is no storage")
        blob = self._find_storage(key)
        if blob.nbytes != numel * itemsize:
            raise pickle.UnpicklingError(f"storage {key} claims {numel * itemsize} bytes and has {blob.nbytes}")
        return blob, dtype


def plain(cfg: Any) -> dict[Any, Any]:
    """A configuration as plain data; interpolations and `???` stay the text they are.

    Args:
        cfg: what an unpickled checkpoint, or a living solver, has as `xp.cfg`.

    Raises:
        CheckpointError: if it holds something else (the message names it), or is no mapping.
    """
    try:
        values = _plain(cfg, "xp.cfg")
    except RecursionError:
        raise CheckpointError("The configuration (xp.cfg) is nested too deeply.") from None
    if not isinstance(values, dict):
        raise CheckpointError("The configuration (xp.cfg) is no mapping of keys to values.")
    return values


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Node):
        return _plain(value.state.get("_content", value.state.get("_val")), where)
    if isinstance(value, dict):
        return {_plain(key, where): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise CheckpointError(f"{where} is {stranger_name(value)}, which is no plain configuration: "
                          "it cannot be released.")


def stranger_name(value: Any) -> str:
    """What to call a value that has no place where it stands."""
    return value.__name__ if isinstance(value, Stranger) else f"a {type(value).__name__.lower()}"


