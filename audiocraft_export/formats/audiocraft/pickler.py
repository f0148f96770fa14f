"""Write plain data and tensors as `torch.save` does, opcode by opcode.

The standard pickler remembers objects by identity, so equal content may give different bytes; this
one does not. Only opcodes of protocol 2 that `torch.load(weights_only=True)` knows are used.
"""

import pickle as op
import struct
from pathlib import Path
from typing import Any

from ... import progress
from ...checkpoint.nonfinite import NonfiniteCounter
from ...checkpoint.tensor import DTYPES, LazyTensor
from ...checkpoint.zip_reader import TorchZipReader
from ...errors import CheckpointError
from ...release.content import AttrDict
from ...storage.lazy_bytes import LazyBytes, Sink
from ...storage.threads import map_two
from .zip_writer import write_torch_zip

_STORAGES = {dtype: f"torch {storage}" for storage, (dtype, _) in DTYPES.items()}
_LARGE = 1 << 24  # bytes of a file that is worth more than one thread
_ORDERED_DICT = op.GLOBAL + b"collections\nOrderedDict\n" + op.EMPTY_TUPLE + op.REDUCE


class TorchPickle:
    """Nested dicts and lists of text, numbers and contiguous `LazyTensor`s for `torch.load`, always in the same bytes.

    Raises:
        CheckpointError: if `torch.load` would refuse it.
    """

    def __init__(self, content: Any) -> None:
        # The key, the dotted name and the counter of each storage, by its identity and its dtype.
        self._storages: dict[tuple[int, str], tuple[str, str, NonfiniteCounter]] = {}
        self._memo = 0
        self._data = op.PROTO + b"\2" + self._dump(content) + op.STOP

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes, without what the zip container adds."""
        return len(self._data) + sum(counter.blob.nbytes for _, _, counter in self._storages.values())

    def write(self, stream: Sink, checked: bool = True) -> None:
        """Write the file; `checked` compares bytes with their CRC-32 as they are read, not when they are read back.

        Raises:
            CheckpointError: if bytes read from a checkpoint are damaged.
        """
        write_torch_zip(stream, [("data.pkl", LazyBytes.from_data(self._data)),
                                 ("byteorder", LazyBytes.from_data(b"little")),
                                 *((f"data/{key}", counter.blob) for key, _, counter in self._storages.values()),
                                 ("version", LazyBytes.from_data(b"3\n"))], checked)

    def read_back(self, path: Path) -> None:
        """Compare every record of the written file with its CRC-32: that of the bytes that were read.

        Raises:
            CheckpointError: if one differs.
        """
        archive = TorchZipReader(path)
        blobs = [archive.blob(name) for name in archive.names]
        if self.nbytes >= _LARGE:
            map_two(LazyBytes.verify, blobs, then=_advance)
        else:
            for blob in blobs:
                blob.verify()
                _advance(blob)

    def check_sources(self) -> None:
        """Compare all bytes that are read with their CRC-32; CheckpointError if some are damaged."""
        for _, _, counter in self._storages.values():
            counter.blob.verify()

    @property
    def nonfinite(self) -> dict[str, int]:
        """Number of NaN and infinite values by the dotted name of a tensor, once written; tied tensors count once."""
        return {name: counter.count for _, name, counter in self._storages.values() if counter.count}

    def _dump(self, value: Any, *path: Any) -> bytes:
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
        """The items, each remembered by a number, and then the same objects as attributes."""
        items, attributes = b"", b""
        names = set(value.names)
        for key, item in value.items():
            memo = struct.pack("<I", self._memo)
            self._memo += 1
            items += _scalar(key) + self._dump(item, *path, key) + op.LONG_BINPUT + memo
            attributes += _scalar(key) + op.LONG_BINGET + memo if key in names else b""
        return b"".join([_ORDERED_DICT, op.MARK, items, op.SETITEMS,
                         op.EMPTY_DICT, op.MARK, attributes, op.SETITEMS, op.BUILD])

    def _tensor(self, tensor: LazyTensor, path: tuple[Any, ...]) -> bytes:
        new = str(len(self._storages)), ".".join(map(str, path)), NonfiniteCounter(tensor.blob, tensor.dtype)
        key, _, _ = self._storages.setdefault((id(tensor.blob), tensor.dtype), new)
        plain = tensor.dtype in _STORAGES
        storage = _STORAGES.get(tensor.dtype, "torch.storage UntypedStorage")
        size = tensor.numel if plain else tensor.nbytes
        return b"".join([
            _global(f"torch._utils _rebuild_tensor_v{2 if plain else 3}"), op.MARK,
            _tuple(_scalar("storage"), _global(storage), _scalar(key), _scalar("cpu"), _scalar(size)), op.BINPERSID,
            _scalar(tensor.offset), _tuple(*map(_scalar, tensor.shape)), _tuple(*map(_scalar, tensor.stride)),
            op.NEWFALSE, _ORDERED_DICT, b"" if plain else _global(f"torch {tensor.dtype}"), op.TUPLE, op.REDUCE])


def _advance(blob: LazyBytes) -> None:
    progress.advance(blob.nbytes)


def _scalar(value: Any) -> bytes:
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
        raise CheckpointError(f"The release would hold an integer of {value.bit_length()} bits, which torch.load "
                              "refuses: keep it out of the model's state.")
    return op.LONG1 + bytes([len(long)]) + long


def _tuple(*items: bytes) -> bytes:
    return op.MARK + b"".join(items) + op.TUPLE


def _global(name: str) -> bytes:
    return op.GLOBAL + name.replace(" ", "\n").encode() + b"\n"
