"""Writing plain data and tensors as `torch.save` does, opcode by opcode.

The standard pickler remembers objects by identity, so equal content may give different bytes; this
one does not. Only opcodes of protocol 2 that `torch.load(weights_only=True)` knows are used.
"""

from __future__ import annotations

import pickle
import struct
from pickle import (
    APPENDS,
    BINFLOAT,
    BININT,
    BINPERSID,
    BINUNICODE,
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    GLOBAL,
    LONG1,
    LONG_BINGET,
    LONG_BINPUT,
    MARK,
    NEWFALSE,
    NEWTRUE,
    NONE,
    PROTO,
    REDUCE,
    SETITEMS,
    STOP,
    TUPLE,
)
from typing import Any, BinaryIO

from .archive import Blob
from .archive_writer import write_archive
from .errors import CheckpointError
from .release import Attributes
from .tensor import DTYPES, Tensor

_STORAGES = {dtype: f"torch {storage}" for storage, (dtype, _) in DTYPES.items()}
_ORDERED_DICT = GLOBAL + b"collections\nOrderedDict\n" + EMPTY_TUPLE + REDUCE


def write_file(stream: BinaryIO, content: Any) -> None:
    """Write a file that `torch.load` reads; the same content gives the same bytes.

    Args:
        stream: open for writing; it is only ever appended to.
        content: nested dicts and lists of text, numbers and contiguous `Tensor`s.

    Raises:
        CheckpointError: if bytes read from a checkpoint are damaged.
    """
    dumper = _Dumper()
    data = PROTO + b"\2" + dumper.dump(content) + STOP
    write_archive(stream, [("data.pkl", Blob.of(data)), ("byteorder", Blob.of(b"little")),
                           *((f"data/{key}", blob) for key, blob in dumper.blobs.values()),
                           ("version", Blob.of(b"3\n"))])


class _Dumper:
    """Gives the opcodes of values; `blobs` are the storages of the tensors among them, by identity, with their keys."""

    def __init__(self) -> None:
        self.blobs: dict[int, tuple[str, Blob]] = {}
        self._memo = 0

    def dump(self, value: Any) -> bytes:
        if isinstance(value, Attributes):
            return self._attributes(value)
        if isinstance(value, dict):
            return EMPTY_DICT + self._items(value)
        if isinstance(value, tuple):
            return _tuple(*map(self.dump, value))
        if isinstance(value, list):
            return EMPTY_LIST + MARK + b"".join(map(self.dump, value)) + APPENDS
        return self._tensor(value) if isinstance(value, Tensor) else _scalar(value)

    def _items(self, value: dict[Any, Any]) -> bytes:
        return MARK + b"".join(self.dump(key) + self.dump(item) for key, item in value.items()) + SETITEMS

    def _attributes(self, value: Attributes) -> bytes:
        """The items, each remembered by a number, and then the same objects as attributes."""
        items, attributes = b"", b""
        names = set(value.names)
        for key, item in value.items():
            memo = struct.pack("<I", self._memo)
            self._memo += 1
            items += _scalar(key) + self.dump(item) + LONG_BINPUT + memo
            attributes += _scalar(key) + LONG_BINGET + memo if key in names else b""
        return _ORDERED_DICT + MARK + items + SETITEMS + EMPTY_DICT + MARK + attributes + SETITEMS + BUILD

    def _tensor(self, tensor: Tensor) -> bytes:
        key, _ = self.blobs.setdefault(id(tensor.blob), (str(len(self.blobs)), tensor.blob))
        plain = tensor.dtype in _STORAGES
        storage = _STORAGES.get(tensor.dtype, "torch.storage UntypedStorage")
        size = tensor.numel if plain else tensor.nbytes
        return b"".join([
            _global(f"torch._utils _rebuild_tensor_v{2 if plain else 3}"), MARK,
            _tuple(_scalar("storage"), _global(storage), _scalar(key), _scalar("cpu"), _scalar(size)), BINPERSID,
            _scalar(tensor.offset), _tuple(*map(_scalar, tensor.shape)), _tuple(*map(_scalar, tensor.stride)),
            NEWFALSE, _ORDERED_DICT, b"" if plain else _global(f"torch {tensor.dtype}"),
            TUPLE, REDUCE])


def _scalar(value: Any) -> bytes:
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return BINUNICODE + struct.pack("<I", len(text)) + text
    if isinstance(value, bytes):
        return _global("_codecs encode") + _tuple(_scalar(value.decode("latin1")), _scalar("latin1")) + REDUCE
    if value is None or isinstance(value, bool):
        return NONE if value is None else NEWTRUE if value else NEWFALSE
    if isinstance(value, float):
        return BINFLOAT + struct.pack(">d", value)
    if -(1 << 31) <= value < 1 << 31:
        return BININT + struct.pack("<i", value)
    long = pickle.encode_long(value)
    if len(long) > 255:
        raise CheckpointError(f"The release would hold an integer of {value.bit_length()} bits, which torch.load "
                              "refuses: it cannot be released.")
    return LONG1 + bytes([len(long)]) + long


def _tuple(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE


def _global(name: str) -> bytes:
    return GLOBAL + name.replace(" ", "\n").encode() + b"\n"
