"""Numbers that are none: NaN and infinity, counted while the bytes of a tensor pass by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Callable

import numpy as np

from ..storage.lazy_bytes import Data, LazyBytes

# By dtype: its bits as an unsigned integer, and those of infinity; without the sign, NaN is above it (IEEE 754).
_INFINITY = {
    "float64": ("<u8", 0x7FF << 52), "float32": ("<u4", 0xFF << 23), "float16": ("<u2", 0x1F << 10),
    "bfloat16": ("<u2", 0xFF << 7), "complex128": ("<u8", 0x7FF << 52), "complex64": ("<u4", 0xFF << 23),
    "complex32": ("<u2", 0x1F << 10), "float8_e5m2": ("u1", 0x1F << 2), "float8_e4m3fn": ("u1", 0x7F),
}


def nonfinite(data: Data, dtype: str) -> int:
    """How many of some numbers are NaN or infinite.

    Args:
        data: whole numbers of them.
        dtype: their type.
    """
    if dtype not in _INFINITY or not len(data):
        return 0
    kind, infinity = _INFINITY[dtype]
    bits: Any = np.frombuffer(data, kind)
    sign = 1 << 8 * bits.itemsize - 1
    # The largest as a number with a sign, and as one without: of the positive ones, and of the negative ones.
    if bits.view(kind.replace("u", "i")).max() < infinity and bits.max() < sign + infinity:
        return 0
    return int(((bits & bits.dtype.type(sign - 1)) >= infinity).sum())


class NonfiniteCounter:
    """Counts the NaN and infinities of a tensor while whoever wants its bytes reads them.

    Args:
        blob: the bytes of the tensor.
        dtype: its element type.
    """

    def __init__(self, blob: LazyBytes, dtype: str) -> None:
        self._counts: list[int] = []
        watched = partial(_watched, blob.read, dtype, self._counts.append)
        self.blob = replace(blob, read=watched) if dtype in _INFINITY else blob

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)


def _watched(read: Callable[[int, int], Iterator[Data]], dtype: str, count: Callable[[int], None], begin: int,
             end: int) -> Iterator[Data]:
    rest, size = b"", np.dtype(_INFINITY[dtype][0]).itemsize
    for piece in read(begin, end):
        data = rest + bytes(piece) if rest else piece
        whole = len(data) // size * size
        count(nonfinite(data[:whole], dtype))
        rest = bytes(data[whole:])
        yield piece
