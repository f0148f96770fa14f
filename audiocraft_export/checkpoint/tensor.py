"""Describe tensors whose bytes are not read yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import Any

from ..storage.lazy_bytes import Data, LazyBytes
from .limits import MAX_DIMENSIONS

DTYPES = {  # dtype and element size in bytes by the storage class of torch
    "DoubleStorage": ("float64", 8), "FloatStorage": ("float32", 4), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1), "ComplexDoubleStorage": ("complex128", 16), "ComplexFloatStorage": ("complex64", 8),
}
NEW_DTYPES = {  # element sizes of dtypes without a storage class (torch._utils._rebuild_tensor_v3)
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1, "float4_e2m1fn_x2": 1, "uint16": 2, "uint32": 4, "uint64": 8, "complex32": 4,
    "bcomplex32": 4, "bits8": 1, "bits16": 2, "bits1x8": 1, "bits2x4": 1, "bits4x2": 1,
}
# Hints about tensors without values of their own.
SHARD_REMEDY = "gather it on all ranks before saving, with full_tensor() or with get_model_state_dict() of " \
               "torch.distributed.checkpoint.state_dict and full_state_dict=True"
INITIALIZE_REMEDY = "run the model once on an input before saving"
_MAX_SIZE = 1 << 63
ITEMSIZE = {**dict(DTYPES.values()), **NEW_DTYPES}


@dataclass(frozen=True, eq=False)
class LazyTensor:
    """A tensor whose bytes stay in a file (or in memory) until they are needed; offset and strides are in elements."""

    blob: LazyBytes  # the bytes of its storage
    dtype: str  # name of the torch dtype, such as `float32`
    offset: int  # index of the first element in the storage
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    conj: bool = False  # whether torch still has to conjugate the elements (a lazy view)
    neg: bool = False  # whether torch still has to negate the elements

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the elements in bytes; the storage may hold more."""
        return self.numel * ITEMSIZE[self.dtype]

    @property
    def own_bytes(self) -> LazyBytes:
        """The bytes of the elements of a contiguous tensor: the whole storage, or a slice of it."""
        begin = self.offset * ITEMSIZE[self.dtype] if self.numel else 0
        return self.blob if self.nbytes == self.blob.nbytes else self.blob.slice(begin, self.nbytes)

    @property
    def is_floating_point(self) -> bool:
        """True if the elements are real floating-point numbers, as in `torch.is_floating_point`."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def is_contiguous(self) -> bool:
        """True if the elements are contiguous in the storage (row-major order)."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride)):
            if size != 1 and stride != expected:
                return self.numel == 0
            expected *= size
        return True

    @property
    def span(self) -> int:
        """Number of elements of the storage from the first to the last element of the tensor."""
        return 1 + sum(map(mul, self.shape, self.stride)) - sum(self.stride) if self.numel else 0

    def reshape(self, shape: tuple[int, ...]) -> LazyTensor:
        """Return a contiguous tensor with another shape.

        Raises:
            ValueError: if the shape is invalid, or has another number of elements.
        """
        if not is_shape(shape) or math.prod(shape) != self.numel:
            raise ValueError(f"cannot reshape {list(self.shape)} to {list(shape[:MAX_DIMENSIONS])}")
        return replace(self, shape=shape, stride=contiguous(shape))


def is_shape(numbers: Sequence[Any]) -> bool:
    """Return whether values are valid sizes or strides of a tensor."""
    return len(numbers) <= MAX_DIMENSIONS and are_sizes(numbers)


def are_sizes(numbers: Sequence[Any]) -> bool:
    """Return whether all values are integers from 0 to 2**63 - 1."""
    return all(type(number) is int and 0 <= number < _MAX_SIZE for number in numbers)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor, in elements."""
    stride, step = [], 1
    for size in reversed(shape):
        stride.append(step)
        step *= max(size, 1)
    return tuple(reversed(stride))


def iter_elements(pieces: Iterable[Data], itemsize: int) -> Iterator[tuple[Data, Data]]:
    """Yield each piece of a stream, together with all whole elements that are available after it."""
    rest = b""
    for piece in pieces:
        data = rest + bytes(piece) if rest else piece
        whole = len(data) // itemsize * itemsize
        rest = bytes(data[whole:])
        yield piece, data[:whole]


def holds_tensor(state: Any) -> bool:
    """Return whether nested data has a tensor; the data may contain itself."""
    return any(iter_tensors(state))


def iter_tensors(state: Any) -> Iterator[LazyTensor]:
    """Yield the tensors of nested data, in any order; the data may contain itself."""
    rest, seen = [state], set()
    while rest:
        value = rest.pop()
        if isinstance(value, LazyTensor):
            yield value
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            rest.extend(value.values() if isinstance(value, dict) else value)
