"""Convert between torch tensors, such as the state of a solver in memory, and bytes."""

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any, Optional, Union

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from ..errors import CheckpointError, reason
from ..storage.lazy_bytes import Data, LazyBytes, iter_chunks
from .nonfinite import nonfinite
from .numpy_scalars import to_number
from .tensor import INITIALIZE_REMEDY, ITEMSIZE, SHARD_REMEDY, LazyTensor, iter_elements

_KEEP_DTYPE = "omit dtype to keep the stored one"
_KEEP_OUT = "keep it out of the model's state"
_CAST_SIZE = 1 << 19  # bytes of a cast chunk; smaller than a chunk of the source, which is in memory as well
_SERIAL_SIZE = (1 << 15) - 64  # elements; torch uses several threads from 32768 elements on


class SolverState(Mapping[str, Any]):
    """The sections of a solver in memory; tensors are not copied.

    `state_dict()` of a section is called only when the section is read, because it may be collective under FSDP.

    Args:
        sources: the source (`flashy.state.StateDictSource`) of each section.

    Raises:
        CheckpointError: on reading a section that contains itself, or has a tensor without plain bytes (a shard, lazy,
            nested, sparse, quantized, meta); the message names the tensor.
    """

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self._sources = sources

    def __getitem__(self, name: str) -> Any:
        try:
            return _to_lazy(self._sources[name].state_dict(), {}, name)
        except RecursionError:
            raise CheckpointError("unsupported-weights", f"{name} of the solver contains itself or is nested too "
                                  "deeply", "keep only tensors and plain data in the model's state") from None

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def from_torch(tensors: Mapping[str, torch.Tensor]) -> dict[str, LazyTensor]:
    """Describe tensors in memory by name, without copying their bytes.

    Raises:
        CheckpointError: if a tensor has no plain storage.
    """
    storages: dict[Any, LazyBytes] = {}
    return {name: _describe(tensor, storages, name) for name, tensor in tensors.items()}


def to_torch(tensor: LazyTensor) -> torch.Tensor:
    """Copy a contiguous tensor into a new tensor of torch.

    Raises:
        CheckpointError: if its bytes are corrupted.
    """
    return _elements(bytearray().join(tensor.own_bytes.iter_checked()), tensor).reshape(tensor.shape)


def cast_chunks(name: str, tensor: LazyTensor, dtype: str) -> Iterator[Data]:
    """Cast a tensor to another dtype, and yield the bytes of its elements; a contiguous tensor is streamed.

    Args:
        name: the name of the tensor, for messages.
        tensor: the tensor.
        dtype: the name of the dtype.

    Raises:
        CheckpointError: if its bytes are corrupted, or a value is beyond the range of `dtype`.
    """
    itemsize = ITEMSIZE[tensor.dtype]
    if tensor.is_contiguous:
        for _, data in iter_elements(tensor.own_bytes.iter_checked(), itemsize):
            for part in torch.split(_elements(data, tensor), _CAST_SIZE // ITEMSIZE[dtype]) if data else ():
                yield _convert(part, name, tensor, dtype)
    else:
        begin, size = tensor.offset * itemsize, tensor.span * itemsize
        stored = _elements(tensor.blob.read_checked(begin, begin + size), tensor)
        result = _convert(stored.as_strided(tensor.shape, tensor.stride), name, tensor, dtype)
        yield from iter_chunks(result, 0, len(result))


def _elements(data: Union[Data, bytearray], tensor: LazyTensor) -> torch.Tensor:
    """View bytes as a flat tensor with the dtype of `tensor`, which must not be written to if they are read-only."""
    dtype = getattr(torch, tensor.dtype)
    if not data:
        return torch.empty(0, dtype=dtype)
    view = _writable(np.frombuffer(data, np.uint8).ctypes.data, len(data), data)  # torch warns of read-only bytes
    return torch.frombuffer(view, dtype=dtype)


def _convert(source: torch.Tensor, name: str, tensor: LazyTensor, dtype: str) -> memoryview:
    """Apply the lazy operations of a tensor to some of its elements, cast them, and return their bytes."""
    source = torch._neg_view(source) if tensor.neg else source
    source = source.conj() if tensor.conj else source
    try:
        result = _cast(source.resolve_conj().resolve_neg(), getattr(torch, dtype))
    except RuntimeError as exc:  # includes NotImplementedError
        raise CheckpointError("dtype-overflow", f"The tensor {name} cannot be converted from {tensor.dtype} to "
                              f"{dtype}: {reason(exc)}", _KEEP_DTYPE) from exc
    data = _bytes(result.untyped_storage())
    if dtype != tensor.dtype and nonfinite(data, dtype):
        if (source.double().isfinite() & ~result.isfinite()).any():
            tensor.blob.verify()  # Corruption may be the cause of the large values.
            offer = "use dtype=bfloat16, or " if dtype == "float16" and tensor.dtype == "float32" else ""
            raise CheckpointError("dtype-overflow", f"The tensor {name} has values beyond the range of {dtype}",
                                  offer + _KEEP_DTYPE)
        result.masked_fill_(result.isnan(), torch.nan)  # The bits of a NaN depend on the processor otherwise.
    return data


def _cast(source: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cast elements in a single thread: for a chunk, torch's threads cost more than they save on a busy machine."""
    if source.dim() != 1:
        return source.to(dtype).contiguous()
    result = torch.empty(source.shape, dtype=dtype)
    for part, cast in zip(torch.split(source, _SERIAL_SIZE), torch.split(result, _SERIAL_SIZE)):
        cast.copy_(part)
    return result


def _to_lazy(state: Any, storages: dict[Any, LazyBytes], name: str) -> Any:
    """Copy nested state with a description in place of each tensor."""
    if isinstance(state, torch.Tensor):
        return _describe(state, storages, name)
    if isinstance(state, dict):
        return {key: _to_lazy(value, storages, f"{name}.{key}") for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        items = [_to_lazy(value, storages, f"{name}.{index}") for index, value in enumerate(state)]
        return tuple(items) if isinstance(state, tuple) else items
    return to_number(state)


def _describe(tensor: torch.Tensor, storages: dict[Any, LazyBytes], name: str) -> LazyTensor:
    """Describe a tensor in memory; tensors of one storage share its bytes in `storages`."""
    if problem := _find_problem(tensor):
        code, description, hint = problem
        raise CheckpointError(code, f"The tensor {name} of the solver {description}", hint)
    tensor = _whole_dtensor(tensor) if _is_dtensor(tensor) else tensor
    storage = _plain_storage(tensor)
    if storage is None:
        raise CheckpointError("unsupported-weights", f"The tensor {name} of the solver ({type(tensor).__name__}) has "
                              "no storage in memory", f"convert it to a plain tensor, or {_KEEP_OUT}")
    place = storage.data_ptr() or storage._cdata  # an empty storage has no memory, and torch.save keeps each of them
    blob = storages.setdefault((storage.device, place, storage.nbytes()),
                               LazyBytes(storage.nbytes(), lambda begin, end: iter_chunks(_bytes(storage), begin, end)))
    return LazyTensor(blob, str(tensor.dtype)[len("torch."):], int(tensor.storage_offset()), tuple(tensor.shape),
                      tensor.stride(), tensor.is_conj(), tensor.is_neg())


def _find_problem(tensor: torch.Tensor) -> Optional[tuple[str, str, str]]:
    """Return error code, description and hint if a tensor cannot be released, else None."""
    if is_lazy(tensor):  # First, because most operations on a lazy tensor raise an error.
        return "unsupported-weights", "is not initialized", INITIALIZE_REMEDY
    if _is_dtensor(tensor):
        return None if _whole_dtensor(tensor) is not None else ("sharded-weights", "is a shard", SHARD_REMEDY)
    if tensor.is_nested:
        return "unsupported-weights", "is nested", f"store its parts as separate tensors, or {_KEEP_OUT}"
    dtype = str(tensor.dtype).replace("torch.", "")
    if tensor.layout != torch.strided or tensor.is_meta or dtype not in ITEMSIZE:
        return "unsupported-weights", f"({tensor.layout} {dtype} on {tensor.device}) has no plain bytes", _KEEP_OUT
    return None


def _is_dtensor(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is a DTensor, whose module differs between versions of torch."""
    return type(tensor).__name__ == "DTensor" and type(tensor).__module__.startswith("torch.distributed.")


def _whole_dtensor(tensor: Any) -> Any:
    """Return the whole tensor if this rank has all of it, or None.

    A shard cannot be gathered here: `full_tensor` is a collective call of all ranks, and only rank 0 exports.
    """
    is_whole = tensor.device_mesh.size() == 1 or all(each.is_replicate() for each in tensor.placements)
    return tensor.to_local() if is_whole else None


def _plain_storage(tensor: torch.Tensor) -> Optional[torch.UntypedStorage]:
    """Return the storage of a tensor; None if it has none in memory, as a subclass that wraps other tensors."""
    try:
        storage, nbytes = tensor.untyped_storage(), tensor.numel() * tensor.element_size()
        return storage if storage.data_ptr() or not nbytes else None
    except Exception:  # A subclass may raise any exception.
        return None


def _bytes(storage: torch.UntypedStorage) -> memoryview:
    """Return the bytes of a storage, without copying them if the storage is on the CPU."""
    storage = storage.cpu()  # type: ignore[no-untyped-call]
    return _writable(storage.data_ptr(), storage.nbytes(), storage)


def _writable(address: int, nbytes: int, owner: Any) -> memoryview:
    """Return a writable view of memory; the view keeps the owner of the memory alive."""
    buffer = (ctypes.c_ubyte * nbytes).from_address(address)
    buffer._owner = owner  # type: ignore[attr-defined]
    return memoryview(buffer).cast("B")
