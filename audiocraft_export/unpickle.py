"""Reading a pickle without running it.

Nothing that a pickle names is ever imported or called. The names in `allowed.py`, written out one by
one, stand for plain data; every other becomes an inert stranger that swallows what the pickle
does to it and remembers what it was called. So a checkpoint is read where the code of its training
does not exist any more, and a hostile one without consequence.

`torch.load(weights_only=True)` was broken twice (CVE-2025-32434, CVE-2026-24747) and knows neither
omegaconf nor strangers.
"""

from __future__ import annotations

import io
import pickle
from argparse import Namespace
from pathlib import PurePath
from typing import Any, Callable

from .allowed import ALLOWED, Node, Storage, Stranger
from .archive import Blob
from .errors import CheckpointError
from .tensor import ITEMSIZE


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

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, numel = pid
        if isinstance(storage, Stranger):
            return storage
        if kind != "storage" or not isinstance(key, str) or type(numel) is not int:
            raise pickle.UnpicklingError("a persistent id that is no storage")
        blob, nbytes = self._find_storage(key), numel * ITEMSIZE[storage.dtype]
        if blob.nbytes != nbytes:
            raise pickle.UnpicklingError(f"storage {key} claims {nbytes} bytes and has {blob.nbytes}")
        return Storage(storage.dtype, blob)


def plain(cfg: Any) -> dict[Any, Any]:
    """A configuration as plain data; interpolations and `???` stay the text they are, paths become text.

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
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, dict):
        return {_key(key, where): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise CheckpointError(f"{where} is {stranger_name(value)}, which is no plain configuration: keep plain values in "
                          "the configuration, or export from the living solver (ExportMixin).")


def _key(key: Any, where: str) -> Any:
    if key is None or isinstance(key, (bool, int, float, str, bytes)):
        return key
    return _plain(key if isinstance(key, Stranger) else Stranger(f"a key that is a {type(key).__name__}"), where)


def stranger_name(value: Any) -> str:
    """What to call a value that has no place where it stands."""
    return value.__name__ if isinstance(value, Stranger) else f"a {type(value).__name__.lower()}"


