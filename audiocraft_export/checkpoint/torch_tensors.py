"""Conversion between tensors of torch, those of a living solver among them, and bytes."""

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import torch
from torch.nn.parameter import is_lazy

from ..errors import CheckpointError, reason
from ..storage.lazy_bytes import Data, LazyBytes, iter_chunks
from .nonfinite import nonfinite
from .numpy_scalars import to_number
from .plain_config import SHARD_REMEDY
from .tensor import ITEMSIZE, LazyTensor, iter_elements


class SolverState(Mapping[str, Any]):
    """The sections of a living solver, by what gives each (`flashy.state.StateDictSource`); tensors are not copied.

    A source is asked only when its section is, since under FSDP asking may involve all ranks.

    Raises:
        CheckpointError: by a section that contains itself, or has a tensor without plain bytes (a shard, lazy, nested,
            sparse, quantized, meta, ...); the message names it.
    """

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self._sources = sources

    def __getitem__(self, name: str) -> Any:
        try:
            return _to_lazy(self._sources[name].state_dict(), {}, name)
        except RecursionError:
            raise CheckpointError(f"{name} of the solver contains itself or is nested too deeply: keep only tensors "
                                  "and plain data in the model's state.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def from_torch(tensors: Mapping[str, torch.Tensor]) -> dict[str, LazyTensor]:
    """Describe tensors in memory, by name; their bytes are not copied.

    Raises:
        CheckpointError: if one has no plain storage.
    """
    storages: dict[Any, LazyBytes] = {}
    return {name: _describe(tensor, storages, name) for name, tensor in tensors.items()}


def to_torch(tensor: LazyTensor) -> torch.Tensor:
    """Read a contiguous tensor into memory of its own.

    Raises:
        CheckpointError: if its bytes are damaged.
    """
    return _elements(b"".join(tensor.own_bytes.iter_checked()), tensor).reshape(tensor.shape)


def cast_chunks(tensor: LazyTensor, dtype: str) -> Iterator[Data]:
    """The elements of a tensor in another dtype, contiguous; streamed if the tensor is.

    Raises:
        CheckpointError: if its bytes are damaged, or a value is beyond the range of `dtype`.
    """
    itemsize = ITEMSIZE[tensor.dtype]
    if tensor.is_contiguous:
        for _, data in iter_elements(tensor.own_bytes.iter_checked(), itemsize):
            if data:
                yield _convert(_elements(data, tensor), tensor, dtype)
    else:
        begin, size = tensor.offset * itemsize, tensor.span * itemsize
        stored = _elements(tensor.blob.read_checked(begin, begin + size), tensor)
        result = _convert(stored.as_strided(tensor.shape, tensor.stride), tensor, dtype)
        yield from iter_chunks(result, 0, len(result))


def _elements(data: Data, tensor: LazyTensor) -> torch.Tensor:
    dtype = getattr(torch, tensor.dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _convert(source: torch.Tensor, tensor: LazyTensor, dtype: str) -> memoryview:
    source = torch._neg_view(source) if tensor.neg else source
    source = source.conj() if tensor.conj else source
    try:
        result = source.resolve_conj().resolve_neg().to(getattr(torch, dtype)).contiguous()
    except RuntimeError as exc:  # NotImplementedError is one
        raise CheckpointError(f"{tensor.blob.name} cannot be converted from {tensor.dtype} to {dtype} "
                              f"({reason(exc)}): leave the dtype as stored.") from exc
    data = _bytes(result.untyped_storage())
    if dtype != tensor.dtype and nonfinite(data, dtype):
        if (source.double().isfinite() & ~result.isfinite()).any():
            tensor.blob.verify()  # it may be damage that made them so large
            raise CheckpointError(f"{tensor.blob.name} holds values beyond the range of {dtype}: use dtype=bfloat16, "
                                  "or leave the dtype as stored.")
        result.masked_fill_(result.isnan(), torch.nan)  # its bits depend on the processor otherwise
    return data


def _to_lazy(state: Any, storages: dict[Any, LazyBytes], name: str) -> Any:
    if isinstance(state, torch.Tensor):
        return _describe(state, storages, name)
    if isinstance(state, dict):
        return {key: _to_lazy(value, storages, f"{name}.{key}") for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [_to_lazy(value, storages, f"{name}.{index}") for index, value in enumerate(state)]
    return to_number(state)


def _describe(tensor: torch.Tensor, storages: dict[Any, LazyBytes], name: str) -> LazyTensor:
    """Describe a tensor in memory; tensors of one storage share its bytes in `storages`."""
    if problem := _find_problem(tensor):
        raise CheckpointError(f"The tensor {name} of the solver {problem}.")
    tensor = _whole_dtensor(tensor) if _is_dtensor(tensor) else tensor
    storage = _plain_storage(tensor)
    if storage is None:
        raise CheckpointError(f"The tensor {name} of the solver ({type(tensor).__name__}) has no bytes of its own: "
                              "convert it to a plain tensor, or keep it out of the model's state.")
    blob = storages.setdefault((storage.device, storage.data_ptr(), storage.nbytes()),
                               LazyBytes(storage.nbytes(), lambda begin, end: iter_chunks(_bytes(storage), begin, end)))
    return LazyTensor(blob, str(tensor.dtype)[len("torch."):], int(tensor.storage_offset()), tuple(tensor.shape),
                      tensor.stride(), tensor.is_conj(), tensor.is_neg())


def _find_problem(tensor: torch.Tensor) -> Optional[str]:
    """Why a tensor cannot be released, and what to do; None if it has plain bytes."""
    if is_lazy(tensor):  # first: nearly everything else that is asked of it is an error
        return "is not initialized yet: run the model once on an input before its export"
    if _is_dtensor(tensor):
        return None if _whole_dtensor(tensor) is not None else f"is a shard: {SHARD_REMEDY}"
    if tensor.is_nested:
        return "is nested: store its parts as tensors of their own, or keep it out of the model's state"
    dtype = str(tensor.dtype).replace("torch.", "")
    if tensor.layout != torch.strided or tensor.is_meta or dtype not in ITEMSIZE:
        return f"({tensor.layout} {dtype} on {tensor.device}) has no plain bytes: keep it out of the model's state"
    return None


def _is_dtensor(tensor: torch.Tensor) -> bool:
    """Whether it is one of `torch.distributed.tensor`, wherever this version of torch has that."""
    return type(tensor).__name__ == "DTensor" and type(tensor).__module__.startswith("torch.distributed.")


def _whole_dtensor(tensor: Any) -> Any:
    """The whole tensor, where this rank has all of it; None where it would have to be gathered.

    Gathering takes all ranks (`full_tensor`), and only rank zero exports.
    """
    is_here = tensor.device_mesh.size() == 1 or all(each.is_replicate() for each in tensor.placements)
    return tensor.to_local() if is_here else None


def _plain_storage(tensor: torch.Tensor) -> Optional[torch.UntypedStorage]:
    """The storage of a tensor; None if it has none in memory, as subclasses that wrap other tensors."""
    try:
        storage, nbytes = tensor.untyped_storage(), tensor.numel() * tensor.element_size()
        return storage if storage.data_ptr() or not nbytes else None
    except Exception:  # whatever a subclass raises
        return None


def _bytes(storage: torch.UntypedStorage) -> memoryview:
    storage = storage.cpu()  # type: ignore[no-untyped-call]
    buffer = (ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())
    buffer._owner = storage  # type: ignore[attr-defined]  # the memory lives as long as the view
    return memoryview(buffer).cast("B")
