"""Write plain data and tensors as `torch.save` does, opcode by opcode.

The standard pickler memoizes objects by identity, so that equal content may give different bytes. This module always
gives the same bytes for equal content. It uses only opcodes of protocol 2 that `torch.load(weights_only=True)`
supports.
"""

import pickle as op
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ...checkpoint.limits import MAX_PICKLE
from ...checkpoint.nonfinite import NonfiniteCounter
from ...checkpoint.tensor import DTYPES, LazyTensor
from ...errors import CheckpointError, readable_size
from ...release.content import AttrDict
from ...storage.lazy_bytes import LazyBytes, Sink
from ...storage.read_back import Part
from .zip_writer import write_torch_zip, zip_size

_STORAGES = {dtype: f"torch {storage}" for storage, (dtype, _) in DTYPES.items()}
_NO_HOOKS = op.GLOBAL + b"collections\nOrderedDict\n" + op.EMPTY_TUPLE + op.REDUCE


class TorchPickle:
    """A file for `torch.load` with nested dicts, lists, strings, numbers and contiguous tensors.

    Equal content always gives the same bytes.

    Args:
        content: the content of the file, with a `LazyTensor` for each tensor.

    Raises:
        CheckpointError: if `torch.load` would reject the content, or it has too much plain data.
    """

    def __init__(self, content: Any) -> None:
        # The record name, the dotted name and the counter of each storage, by identity and dtype.
        self._storages: dict[tuple[int, str], tuple[str, str, NonfiniteCounter]] = {}
        self._memo = 0
        self._data = op.PROTO + b"\2" + self._dump(content) + op.STOP
        if len(self._data) > MAX_PICKLE:
            raise CheckpointError("limit-exceeded", f"The non-tensor data of a file would be "
                                  f"{readable_size(len(self._data))}; the limit is {readable_size(MAX_PICKLE)}",
                                  "keep only tensors and a little plain data in the model's state")

    @cached_property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return zip_size((name, blob.nbytes) for name, blob in self._records())

    def write(self, stream: Sink, checked: bool = True) -> list[Part]:
        """Write the file.

        Args:
            stream: the destination.
            checked: whether to compare the bytes of the checkpoint with their CRC-32 while they are read. If not,
                comparing the file with the returned parts finds wrong bytes.

        Returns:
            The parts of the file.

        Raises:
            CheckpointError: if bytes of the checkpoint are corrupted.
        """
        return write_torch_zip(stream, self._records(), checked)

    def _records(self) -> Iterator[tuple[str, LazyBytes]]:
        """Yield name and bytes of each record of the archive, in the order of the file."""
        yield "data.pkl", LazyBytes.from_data(self._data)
        yield "byteorder", LazyBytes.from_data(b"little")
        yield from ((f"data/{key}", counter.blob) for key, _, counter in self._storages.values())
        yield "version", LazyBytes.from_data(b"3\n")

    def check_sources(self) -> None:
        """Compare all bytes of the checkpoint with their CRC-32, without writing.

        Raises:
            CheckpointError: if bytes are corrupted.
        """
        for _, _, counter in self._storages.values():
            counter.blob.verify()

    @property
    def nonfinite(self) -> dict[str, int]:
        """Number of NaN and infinite values by the dotted tensor name, after `write`; tied tensors count once."""
        return {name: counter.count for _, name, counter in self._storages.values() if counter.count}

    def _dump(self, value: Any, *path: Any) -> bytes:
        """Return the opcodes that build a value; `path` is the path of keys to it, for messages."""
        if isinstance(value, AttrDict):
            return self._attributes(value, path)
        if isinstance(value, dict):
            items = (_scalar(key) + self._dump(item, *path, key) for key, item in value.items())
            return op.EMPTY_DICT + op.MARK + b"".join(items) + op.SETITEMS
        if isinstance(value, (list, tuple)):
            each = [self._dump(item, *path, index) for index, item in enumerate(value)]
            is_list = isinstance(value, list)
            return op.EMPTY_LIST + op.MARK + b"".join(each) + op.APPENDS if is_list else _tuple(*each)
        return self._tensor(value, path) if isinstance(value, LazyTensor) else _scalar(value)

    def _attributes(self, value: AttrDict, path: tuple[Any, ...]) -> bytes:
        """Encode the items, memoize each of them, and set the same objects as attributes."""
        items, attributes = b"", b""
        names = set(value.names)
        for key, item in value.items():
            memo = struct.pack("<I", self._memo)
            self._memo += 1
            items += _tuple(_scalar(key), self._dump(item, *path, key) + op.LONG_BINPUT + memo)
            attributes += _scalar(key) + op.LONG_BINGET + memo if key in names else b""
        # The items are an argument: scanners report SETITEMS on an object other than a dict as a call.
        pairs = op.EMPTY_LIST + op.MARK + items + op.APPENDS
        return b"".join([_global("collections OrderedDict"), _tuple(pairs), op.REDUCE,
                         op.EMPTY_DICT, op.MARK, attributes, op.SETITEMS, op.BUILD])

    def _tensor(self, tensor: LazyTensor, path: tuple[Any, ...]) -> bytes:
        """Return the opcodes that rebuild a tensor, and register its storage."""
        new = str(len(self._storages)), ".".join(map(str, path)), NonfiniteCounter(tensor.blob, tensor.dtype)
        key, _, _ = self._storages.setdefault((id(tensor.blob), tensor.dtype), new)
        plain = tensor.dtype in _STORAGES
        storage = _STORAGES.get(tensor.dtype, "torch.storage UntypedStorage")
        size = tensor.numel if plain else tensor.nbytes
        return b"".join([
            _global(f"torch._utils _rebuild_tensor_v{2 if plain else 3}"), op.MARK,
            _tuple(_scalar("storage"), _global(storage), _scalar(key), _scalar("cpu"), _scalar(size)), op.BINPERSID,
            _scalar(tensor.offset), _tuple(*map(_scalar, tensor.shape)), _tuple(*map(_scalar, tensor.stride)),
            op.NEWFALSE, _NO_HOOKS, b"" if plain else _global(f"torch {tensor.dtype}"), op.TUPLE, op.REDUCE])


def _scalar(value: Any) -> bytes:
    """Return the opcodes of a string, bytes, None, bool, int or float."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return op.BINUNICODE + struct.pack("<I", len(text)) + text
    if isinstance(value, bytes):
        return _global("_codecs encode") + _tuple(_scalar(value.decode("latin1")), _scalar("latin1")) + op.REDUCE
    if value is None:
        return op.NONE
    if isinstance(value, bool):
        return op.NEWTRUE if value else op.NEWFALSE
    if isinstance(value, float):
        return op.BINFLOAT + struct.pack(">d", value)
    if -(1 << 31) <= value < 1 << 31:
        return op.BININT + struct.pack("<i", value)
    long = op.encode_long(value)
    if len(long) > 255:
        raise CheckpointError("unsupported-weights",
                              f"Unsupported integer of {value.bit_length()} bits in the weights: torch.load rejects it",
                              "keep it out of the state of the model")
    return op.LONG1 + bytes([len(long)]) + long


def _tuple(*items: bytes) -> bytes:
    return op.MARK + b"".join(items) + op.TUPLE


def _global(name: str) -> bytes:
    return op.GLOBAL + name.replace(" ", "\n").encode() + b"\n"
