"""A tensor as a description of bytes that are not read yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..storage.lazy_bytes import Data, LazyBytes
from .limits import MAX_DIMENSIONS

DTYPES = {  # the storage classes of torch, and the element size in bytes
    "DoubleStorage": ("float64", 8), "FloatStorage": ("float32", 4), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1), "ComplexDoubleStorage": ("complex128", 16), "ComplexFloatStorage": ("complex64", 8),
}
NEW_DTYPES = {  # dtypes without a storage class: torch._utils._rebuild_tensor_v3
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1, "float4_e2m1fn_x2": 1, "uint16": 2, "uint32": 4, "uint64": 8, "complex32": 4,
    "bcomplex32": 4, "bits8": 1, "bits16": 2, "bits1x8": 1, "bits2x4": 1, "bits4x2": 1,
}
ITEMSIZE = {**dict(DTYPES.values()), **NEW_DTYPES}


@dataclass(frozen=True, eq=False)
class LazyTensor:
    """A tensor as a description of bytes in a file (or in memory); nothing is read.

    Offset, shape and stride are in elements.
    """

    blob: LazyBytes  # the storage that it views
    dtype: str  # as in `torch.<dtype>`
    offset: int  # of the first element in the storage
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    conj: bool = False  # whether torch still has to conjugate the elements (a lazy view)
    neg: bool = False  # or to negate them

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
        """The bytes of the elements of a contiguous tensor: all of the storage, or a part of it."""
        begin = self.offset * ITEMSIZE[self.dtype]
        return self.blob if self.nbytes == self.blob.nbytes else self.blob.slice(begin, self.nbytes)

    @property
    def is_floating_point(self) -> bool:
        """Whether it holds real floating point numbers, as `torch.is_floating_point` says."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def is_contiguous(self) -> bool:
        """Whether its elements follow each other in the storage, the last dimension fastest."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride)):
            if size != 1 and stride != expected:
                return self.numel == 0
            expected *= size
        return True

    @property
    def span(self) -> int:
        """Number of elements of the storage from the first to the last one it views."""
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.stride)) if self.numel else 0

    def reshape(self, shape: tuple[int, ...]) -> LazyTensor:
        """The elements of a contiguous tensor in another shape.

        Raises:
            ValueError: if that is invalid, or has another number of elements.
        """
        if not is_shape(shape) or math.prod(shape) != self.numel:
            raise ValueError(f"{list(self.shape)} is not as many as {list(shape[:MAX_DIMENSIONS])}")
        return replace(self, shape=shape, stride=contiguous(shape))


def is_shape(numbers: Sequence[Any]) -> bool:
    """Whether these are valid sizes or strides of a tensor."""
    return len(numbers) <= MAX_DIMENSIONS and all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a contiguous tensor, in elements."""
    stride, step = [], 1
    for size in reversed(shape):
        stride.append(step)
        step *= max(size, 1)
    return tuple(reversed(stride))


def iter_elements(pieces: Iterable[Data], itemsize: int) -> Iterator[tuple[Data, Data]]:
    """Each piece of a stream of bytes, and the bytes of the elements that it completes."""
    rest = b""
    for piece in pieces:
        data = rest + bytes(piece) if rest else piece
        whole = len(data) // itemsize * itemsize
        rest = bytes(data[whole:])
        yield piece, data[:whole]
