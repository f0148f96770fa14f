"""Tensors in memory: between torch and bytes."""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from .archive import Blob
from .errors import CheckpointError
from .tensor import ITEMSIZE, Tensor


def describe(state: Any) -> Any:
    """The state of a living solver as if it had been read from a file; tensors are not copied.

    Args:
        state: nested dicts and lists of plain data and `torch.Tensor`s of any shape, on any device.

    Raises:
        CheckpointError: if a tensor is of a kind that has no plain storage (sparse, quantized, ...).
    """
    return _describe(state, {})


def converted(tensor: Tensor, dtype: str) -> memoryview:
    """The elements of a tensor, contiguous, in another dtype.

    Raises:
        CheckpointError: if its bytes are damaged, or a value is beyond the range of `dtype`.
    """
    begin = tensor.offset * ITEMSIZE[tensor.dtype]
    part = tensor.blob.checked()[begin:begin + tensor.span * ITEMSIZE[tensor.dtype]]
    if not part:
        return part
    source = torch.frombuffer(bytearray(part), dtype=getattr(torch, tensor.dtype))
    source = source.as_strided(tensor.shape, tensor.stride)
    source = torch._neg_view(source) if tensor.neg else source
    source = source.conj() if tensor.conj else source
    result = source.resolve_conj().resolve_neg().to(getattr(torch, dtype)).contiguous()
    if not result.isfinite().all() and (source.double().isfinite() & ~result.isfinite()).any():
        raise CheckpointError(f"{tensor.blob.name} holds values beyond the range of {dtype}: use dtype=bfloat16, "
                              "or leave the dtype as stored.")
    return _bytes(result.untyped_storage())


def _describe(state: Any, storages: dict[Any, Blob]) -> Any:
    if isinstance(state, torch.Tensor):
        return _describe_tensor(state.detach(), storages)
    if isinstance(state, dict):
        return {key: _describe(value, storages) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [_describe(value, storages) for value in state]
    return state


def _describe_tensor(tensor: torch.Tensor, storages: dict[Any, Blob]) -> Tensor:
    dtype = str(tensor.dtype).replace("torch.", "")
    if tensor.layout != torch.strided or dtype not in ITEMSIZE:
        raise CheckpointError(f"A tensor of the solver is {tensor.layout} {dtype}: it cannot be released.")
    storage = tensor.untyped_storage()
    blob = storages.setdefault((storage.device, storage.data_ptr()),
                               Blob(storage.nbytes(), lambda: _bytes(storage.cpu())))  # type: ignore[no-untyped-call]
    return Tensor(blob, dtype, int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(),
                  tensor.is_conj(), tensor.is_neg())


def _bytes(storage: torch.UntypedStorage) -> memoryview:
    buffer = (ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())
    buffer._owner = storage  # type: ignore[attr-defined]  # the memory lives as long as the view
    return memoryview(buffer).cast("B")
