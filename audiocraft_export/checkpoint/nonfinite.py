"""Count NaN and infinite values while the bytes of a tensor are streamed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..storage.lazy_bytes import Data, LazyBytes
from .tensor import ITEMSIZE, iter_elements

# By dtype: the unsigned integer of the same size, and the bits of infinity. Without the sign bit, NaN is larger
# than infinity (IEEE 754).
_INFINITY = {
    "float64": ("<u8", 0x7FF << 52), "float32": ("<u4", 0xFF << 23), "float16": ("<u2", 0x1F << 10),
    "bfloat16": ("<u2", 0xFF << 7), "complex128": ("<u8", 0x7FF << 52), "complex64": ("<u4", 0xFF << 23),
    "complex32": ("<u2", 0x1F << 10), "bcomplex32": ("<u2", 0xFF << 7), "float8_e5m2": ("u1", 0x1F << 2),
    "float8_e4m3fn": ("u1", 0x7F),
}
# By dtype without infinity: the bits of its only NaN.
_NAN = {"float8_e4m3fnuz": 0x80, "float8_e5m2fnuz": 0x80, "float8_e8m0fnu": 0xFF}


def nonfinite(data: Data, dtype: str) -> int:
    """Count the NaN and infinite values in the bytes of whole elements."""
    if dtype in _NAN:
        return bytes(data).count(_NAN[dtype])
    if dtype not in _INFINITY or not len(data):
        return 0
    kind, infinity = _INFINITY[dtype]
    bits: Any = np.frombuffer(data, kind)
    sign = 1 << 8 * bits.itemsize - 1
    # Fast path: the signed maximum covers the positive values, the unsigned maximum the negative values.
    if bits.view(kind.replace("u", "i")).max() < infinity and bits.max() < sign + infinity:
        return 0
    return int(((bits & bits.dtype.type(sign - 1)) >= infinity).sum())


class NonfiniteCounter:
    """Count the NaN and infinite values of a tensor while its bytes are read from `blob`."""

    def __init__(self, blob: LazyBytes, dtype: str) -> None:
        counts: list[int] = []

        # Uses `counts`, because a reference to `self` would be a cycle.
        def read(begin: int, end: int) -> Iterator[Data]:
            for piece, elements in iter_elements(blob.read(begin, end), ITEMSIZE[dtype]):
                counts.append(nonfinite(elements, dtype))
                yield piece

        self._counts = counts
        self.blob = replace(blob, read=read) if dtype in (*_INFINITY, *_NAN) else blob

    @property
    def count(self) -> int:
        """Number of NaN and infinite values read so far."""
        return sum(self._counts)
