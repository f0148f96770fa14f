"""Conversion between tensors of torch, those of a living solver among them, and bytes."""

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..errors import CheckpointError, reason
from ..storage.lazy_bytes import Data, LazyBytes, iter_chunks
from .nonfinite import nonfinite
from .numpy_scalars import to_number
from .tensor import ITEMSIZE, LazyTensor, iter_elements


class SolverState(Mapping[str, Any]):
    """The sections of a living solver, by what gives each (`flashy.state.StateDictSource`); tensors are not copied.

    A source is asked only when its section is, since under FSDP asking may involve all ranks.

    Raises:
        CheckpointError: by a section with a tensor that has no plain storage (sparse, quantized, meta, ...).
    """

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self._sources = sources

    def __getitem__(self, name: str) -> Any:
        return _to_lazy(self._sources[name].state_dict(), {})

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
    return {name: _describe(tensor, storages) for name, tensor in tensors.items()}


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
    return torch.frombuffer(bytearray(data), dtype=getattr(torch, tensor.dtype))


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


def _to_lazy(state: Any, storages: dict[Any, LazyBytes]) -> Any:
    if isinstance(state, torch.Tensor):
        return _describe(state, storages)
    if isinstance(state, dict):
        return {key: _to_lazy(value, storages) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [_to_lazy(value, storages) for value in state]
    return to_number(state)


def _describe(tensor: torch.Tensor, storages: dict[Any, LazyBytes]) -> LazyTensor:
    """Describe a tensor in memory; tensors of one storage share its bytes in `storages`."""
    tensor = tensor.detach()
    dtype = str(tensor.dtype).replace("torch.", "")
    if tensor.layout != torch.strided or tensor.is_meta or dtype not in ITEMSIZE:
        kind = f"{tensor.layout} {dtype} on {tensor.device}"
        raise CheckpointError(f"A tensor of the solver ({kind}) has no plain bytes: keep it out of the model's state.")
    storage = tensor.untyped_storage()
    blob = storages.setdefault((storage.device, storage.data_ptr(), storage.nbytes()),
                               LazyBytes(storage.nbytes(), lambda begin, end: iter_chunks(_bytes(storage), begin, end)))
    return LazyTensor(blob, dtype, int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(),
                      tensor.is_conj(), tensor.is_neg())


def _bytes(storage: torch.UntypedStorage) -> memoryview:
    storage = storage.cpu()  # type: ignore[no-untyped-call]
    buffer = (ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())
    buffer._owner = storage  # type: ignore[attr-defined]  # the memory lives as long as the view
    return memoryview(buffer).cast("B")
