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
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    GLOBAL,
    LONG1,
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
    blobs: dict[int, tuple[str, Blob]] = {}
    data = PROTO + b"\2" + _dump(content, blobs) + STOP
    write_archive(stream, [("data.pkl", _record(data)), ("byteorder", _record(b"little")),
                           *((f"data/{key}", blob) for key, blob in blobs.values()), ("version", _record(b"3\n"))])


def _record(data: bytes) -> Blob:
    return Blob(len(data), lambda: memoryview(data))


def _dump(value: Any, blobs: dict[int, tuple[str, Blob]]) -> bytes:
    if isinstance(value, dict):
        items = b"".join(_dump(key, blobs) + _dump(item, blobs) for key, item in value.items())
        return EMPTY_DICT + MARK + items + SETITEMS
    if isinstance(value, tuple):
        return _tuple(*(_dump(item, blobs) for item in value))
    if isinstance(value, list):
        return EMPTY_LIST + MARK + b"".join(_dump(item, blobs) for item in value) + APPENDS
    if isinstance(value, Tensor):
        return _dump_tensor(value, blobs)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return BINUNICODE + struct.pack("<I", len(text)) + text
    if isinstance(value, bytes):
        return _global("_codecs encode") + _tuple(_dump(value.decode("latin1"), blobs), _dump("latin1", blobs)) + REDUCE
    if value is None or isinstance(value, bool):
        return NONE if value is None else NEWTRUE if value else NEWFALSE
    if isinstance(value, float):
        return BINFLOAT + struct.pack(">d", value)
    if -(1 << 31) <= value < 1 << 31:
        return BININT + struct.pack("<i", value)
    long = pickle.encode_long(value)
    if len(long) > 255:
        raise CheckpointError(f"The weights hold an integer of {value.bit_length()} bits, which torch.load refuses: it "
                              "cannot be released.")
    return LONG1 + bytes([len(long)]) + long


def _dump_tensor(tensor: Tensor, blobs: dict[int, tuple[str, Blob]]) -> bytes:
    key, _ = blobs.setdefault(id(tensor.blob), (str(len(blobs)), tensor.blob))
    plain = tensor.dtype in _STORAGES
    storage = _STORAGES.get(tensor.dtype, "torch.storage UntypedStorage")
    size = tensor.numel if plain else tensor.nbytes
    return b"".join([
        _global(f"torch._utils _rebuild_tensor_v{2 if plain else 3}"), MARK,
        _tuple(_dump("storage", blobs), _global(storage), _dump(key, blobs), _dump("cpu", blobs), _dump(size, blobs)),
        BINPERSID,
        _dump(tensor.offset, blobs),
        _tuple(*(_dump(size, blobs) for size in tensor.shape)),
        _tuple(*(_dump(step, blobs) for step in tensor.stride)),
        NEWFALSE, _ORDERED_DICT, b"" if plain else _global(f"torch {tensor.dtype}"),
        TUPLE, REDUCE])


def _tuple(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE


def _global(name: str) -> bytes:
    return GLOBAL + name.replace(" ", "\n").encode() + b"\n"
