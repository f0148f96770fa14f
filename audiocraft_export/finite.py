"""Numbers that are none: NaN and infinity, counted while the bytes of a tensor pass by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .blob import Blob, Data

# By dtype: its bits as an unsigned integer, and those of infinity; without the sign, NaN is above it (IEEE 754).
_INFINITY = {
    "float64": ("<u8", 0x7FF << 52), "float32": ("<u4", 0xFF << 23), "float16": ("<u2", 0x1F << 10),
    "bfloat16": ("<u2", 0xFF << 7), "complex128": ("<u8", 0x7FF << 52), "complex64": ("<u4", 0xFF << 23),
    "complex32": ("<u2", 0x1F << 10), "float8_e5m2": ("u1", 0x1F << 2), "float8_e4m3fn": ("u1", 0x7F),
}


class Watch:
    """Counts the NaN and infinities of a tensor while whoever wants its bytes reads them.

    Args:
        blob: the bytes of the tensor.
        dtype: its element type.
    """

    def __init__(self, blob: Blob, dtype: str) -> None:
        self.blob = replace(blob, read=self._read) if dtype in _INFINITY else blob
        self.count = 0
        self._source, self._dtype = blob, dtype

    def _read(self, begin: int, end: int) -> Iterator[Data]:
        rest = b""
        for piece in self._source.read(begin, end):
            rest = self._see(rest + bytes(piece) if rest else piece)
            yield piece

    def _see(self, data: Data) -> bytes:
        """Count in these bytes; gives those of a number that is not complete yet."""
        kind, infinity = _INFINITY[self._dtype]
        size = np.dtype(kind).itemsize
        whole = len(data) // size * size
        bits: Any = np.frombuffer(data[:whole], kind)
        sign = 1 << 8 * size - 1
        # The largest as numbers with a sign and without one: of the positive ones, and of the negative ones.
        if whole and (bits.view(kind.replace("u", "i")).max() >= infinity or bits.max() >= sign + infinity):
            self.count += int(((bits & bits.dtype.type(sign - 1)) >= infinity).sum())
        return bytes(data[whole:])
