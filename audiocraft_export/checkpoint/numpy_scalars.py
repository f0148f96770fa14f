"""Convert numpy scalars, from a pickle or from a solver in memory, to Python numbers without importing numpy.

Format: `numpy.dtype.__reduce__` and `numpy.generic.__reduce__`, the same since numpy 1.0; numpy 2 renamed the module.
"""

import math
import struct
from numbers import Integral, Real
from pickle import UnpicklingError
from typing import Any, Optional, Union

_STRUCT_CODES = {  # format characters of `struct` by dtype name
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}
_LONG_DOUBLES = ("f16", "f12")  # on x86, 10 bytes hold the value; the other bytes are uninitialized
_EXPONENT_BIAS = 16383  # of long doubles on x86, and of all 16-byte floats (numpy: f16)
_MAX_EXPONENT = 1100  # slightly more than the exponent of any double

Number = Union[bool, int, float]
CODES = (*_STRUCT_CODES, *_LONG_DOUBLES)  # names of the dtypes of real numbers


class NumpyDtype:
    """A numpy dtype of real numbers; the pickle sets its byte order after creating it."""

    __slots__ = ("code", "_order")

    def __init__(self, code: str) -> None:
        self.code = code
        self._order = ""

    def build(self, state: Any) -> None:
        """Set the byte order from the state in the pickle.

        Raises:
            UnpicklingError: if the state is invalid, or is set twice.
        """
        if self._order or not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise UnpicklingError("invalid state of a numpy dtype")
        self._order = ">" if state[1] == ">" else "<"

    def decode(self, data: Any) -> Optional[Number]:
        """Decode the bytes of one element; None for a long double that another machine may have written.

        Raises:
            UnpicklingError: if the data is not bytes of the right size.
        """
        layout = (self._order or "<") + _STRUCT_CODES.get(self.code, f"{self.code[1:]}s")
        if not isinstance(data, bytes) or len(data) != struct.calcsize(layout):
            raise UnpicklingError(f"numpy scalar with the wrong number of bytes for dtype {self.code}")
        if self.code in _LONG_DOUBLES:
            return None if self._order == ">" else _decode_long_double(data)
        number: Number = struct.unpack(layout, data)[0]
        return number


def _decode_long_double(data: bytes) -> Optional[float]:
    """Decode a long double of x86 to the nearest float; None if another machine may have written the bytes."""
    mantissa, head = struct.unpack_from("<QH", data)
    exponent = (head & 0x7FFF) - _EXPONENT_BIAS
    is_special = exponent == _EXPONENT_BIAS + 1
    is_normal = mantissa >> 63 and (abs(exponent) < _MAX_EXPONENT or is_special)
    is_zero = not mantissa and not head & 0x7FFF
    other = (int.from_bytes(data[-2:], "little") & 0x7FFF) - _EXPONENT_BIAS
    if not is_normal and not is_zero or abs(other) < _MAX_EXPONENT:
        return None
    sign = -1.0 if head & 0x8000 else 1.0
    if is_special:
        return sign * math.inf if mantissa == 1 << 63 else math.nan
    return sign * math.ldexp(mantissa, exponent - 63) if exponent < 1023 else None  # rounding may overflow above


def plain_numbers(value: Any) -> Any:
    """Copy nested data, and convert its real numpy scalars to Python numbers and its tuples to lists."""
    if isinstance(value, dict):
        return {key: plain_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_numbers(item) for item in value]
    return to_number(value)


def to_number(value: Any) -> Any:
    """Convert a real numpy scalar to a Python number; return any other value unchanged."""
    kind = type(value)
    if kind.__module__ != "numpy":
        return value
    if kind.__name__ in ("bool_", "bool"):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
