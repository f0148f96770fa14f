"""Scalars of numpy as numbers of Python: in a pickle by their dtype and bytes, or living ones.

numpy itself is not imported.

Format: `numpy.dtype.__reduce__` and `numpy.generic.__reduce__`, the same since numpy 1.0; numpy 2 renamed the module.
"""

import math
import struct
from numbers import Integral, Real
from pickle import UnpicklingError
from typing import Any, Optional, Union

_STRUCT_CODES = {  # of `struct`, by the name of the dtype
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}
_LONG_DOUBLES = ("f16", "f12")  # of x86: 10 bytes, the rest is whatever stood in memory
_EXPONENT_BIAS = 16383  # of these, and of the 16 bytes of other machines that go by the same name
_MAX_EXPONENT = 1100  # of a double, and some more

Number = Union[bool, int, float]
CODES = (*_STRUCT_CODES, *_LONG_DOUBLES)  # the names of the dtypes of real numbers


class NumpyDtype:
    """The dtype of a real number, by one of `CODES`; the pickle gives its byte order after it was made."""

    __slots__ = ("code", "_order")

    def __init__(self, code: str) -> None:
        self.code = code
        self._order = ""

    def build(self, state: Any) -> None:
        """Take the byte order; raises `UnpicklingError` if there is none, or for the second one."""
        if self._order or not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise UnpicklingError("a dtype of numpy that is not built as one")
        self._order = ">" if state[1] == ">" else "<"

    def decode(self, data: Any) -> Optional[Number]:
        """The number in the bytes of one element; None if it is a long double that may be of another machine.

        Raises:
            UnpicklingError: if these are no bytes, or another number of them.
        """
        layout = (self._order or "<") + _STRUCT_CODES.get(self.code, f"{self.code[1:]}s")
        if not isinstance(data, bytes) or len(data) != struct.calcsize(layout):
            raise UnpicklingError(f"a scalar of numpy without the bytes of its dtype {self.code}")
        if self.code in _LONG_DOUBLES:
            return None if self._order == ">" else _decode_long_double(data)
        number: Number = struct.unpack(layout, data)[0]
        return number


def _decode_long_double(data: bytes) -> Optional[float]:
    """The nearest float; where another machine may have written the bytes, they may be another number: None."""
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
    return sign * math.ldexp(mantissa, exponent - 63) if exponent < 1023 else None  # beyond it, rounding may overflow


def plain_numbers(value: Any) -> Any:
    """Copy nested data of a living solver with the real scalars of numpy in it as numbers of Python."""
    if isinstance(value, dict):
        return {key: plain_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_numbers(item) for item in value]
    return to_number(value)


def to_number(value: Any) -> Any:
    """A real scalar of numpy as a number of Python; anything else as it is."""
    kind = type(value)
    if kind.__module__ != "numpy":
        return value
    if kind.__name__ in ("bool_", "bool"):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
