"""Read and write files of safetensors: a header in JSON, then the bytes of all tensors, one after the other.

The library writes only what is in memory as a whole, and the metadata in an order that changes from run to run; so
this writes the file itself, in the library's order of tensors. Format: huggingface.co/docs/safetensors.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ... import progress
from ...checkpoint.nonfinite import NonfiniteCounter
from ...checkpoint.tensor import LazyTensor, contiguous, is_shape
from ...errors import CheckpointError, reason
from ...release.content import Tensors
from ...storage.file_reader import FileReader
from ...storage.lazy_bytes import LazyBytes, Sink
from ..audiocraft.zip_writer import copy_blob
from .limits import MAX_HEADER

_NAMES = {  # by the dtype of torch; the later ones stand first in a file, so that each is aligned
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0", "int16": "I16", "uint16": "U16", "float16": "F16", "bfloat16": "BF16", "int32": "I32",
    "uint32": "U32", "float32": "F32", "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_RANKS = {dtype: rank for rank, dtype in enumerate(_NAMES)}
_METADATA = "__metadata__"
_SIZE = struct.Struct("<Q")


class SafetensorsFile:
    """Tensors as a file of safetensors; the same tensors give the same bytes.

    Raises:
        CheckpointError: if it cannot hold one of the tensors.
    """

    def __init__(self, content: Tensors) -> None:
        tensors = sorted(content.tensors.items(), key=lambda item: (-_rank(*item), item[0]))
        self._header = _build_header(tensors, content.metadata)
        self._counters = {name: NonfiniteCounter(tensor.blob, tensor.dtype) for name, tensor in tensors}
        self._crcs: dict[str, int] = {}

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return len(self._header) + sum(counter.blob.nbytes for counter in self._counters.values())

    def write(self, stream: Sink, checked: bool = True) -> None:
        """Write the file; bytes are compared with their CRC-32 in any case, since the file has none.

        Raises:
            CheckpointError: if bytes read from a checkpoint are damaged.
        """
        stream.write(self._header)
        for name, counter in self._counters.items():
            self._crcs[name] = copy_blob(counter.blob, stream, checked=True)

    def read_back(self, path: Path) -> None:
        """Compare the header and every tensor of the written file with what was written.

        Raises:
            CheckpointError: if one differs.
        """
        file = FileReader(path, "safetensors")
        if file.nbytes != self.nbytes or file.read_bytes(0, len(self._header)) != self._header:
            raise CheckpointError(f"the header of {path.name} differs")
        begin = len(self._header)
        for name, counter in self._counters.items():
            nbytes = counter.blob.nbytes
            _bytes_of(file, begin, nbytes, f"{name} of {path.name}", self._crcs[name]).verify()
            progress.advance(nbytes)
            begin += nbytes

    def check_sources(self) -> None:
        """Do nothing: `write` has compared all bytes with their CRC-32."""

    @property
    def nonfinite(self) -> dict[str, int]:
        """Number of NaN and infinite values by the name of a tensor, once written."""
        return {name: counter.count for name, counter in self._counters.items() if counter.count}


def read_safetensors(path: Path) -> Tensors:
    """Read a file of safetensors, but for the bytes of its tensors.

    Raises:
        CheckpointError: if it is not such a file, or has gaps, overlaps or bytes that belong to nothing.
    """
    file = FileReader(path, "safetensors")
    size = _SIZE.unpack(file.read_bytes(0, _SIZE.size))[0] if file.nbytes >= _SIZE.size else file.nbytes
    if size > min(MAX_HEADER, file.nbytes - _SIZE.size):
        raise CheckpointError(f"{path} is no file of safetensors, or was cut short: restore it from a copy.")
    begin = _SIZE.size + size
    try:
        header = json.loads(file.read_bytes(_SIZE.size, begin), object_pairs_hook=_to_dict)
        metadata = header.pop(_METADATA, {})
        tensors = {name: _lazy_tensor(file, begin, name, **entry) for name, entry in header.items()}
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("metadata that is no text")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise CheckpointError(f"{path} is damaged or foreign (its header: {exc}): restore it from a copy.") from exc
    _refuse_gaps(path, [entry["data_offsets"] for entry in header.values()], file.nbytes - begin)
    return Tensors(tensors, metadata)


def _rank(name: str, tensor: LazyTensor) -> int:
    if tensor.dtype not in _RANKS:
        raise CheckpointError(f"{name!r} is {tensor.dtype}, which a file of safetensors cannot hold: use "
                              "format=audiocraft, or another dtype.")
    if name == _METADATA or not name.isprintable():
        raise CheckpointError(f"A tensor is called {name!r}, which a file of safetensors cannot hold: use "
                              "format=audiocraft.")
    return _RANKS[tensor.dtype]


def _build_header(tensors: list[tuple[str, LazyTensor]], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in tensors:
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    try:
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise CheckpointError(f"A text of the header is none in UTF-8 ({reason(exc)}), which a file of safetensors "
                              "cannot hold: use format=audiocraft.") from exc
    text += b" " * (-len(text) % 8)
    return _SIZE.pack(len(text)) + text


def _bytes_of(file: FileReader, begin: int, nbytes: int, name: str, crc: Optional[int] = None) -> LazyBytes:
    return LazyBytes(nbytes, lambda first, last: file.read(begin + first, begin + last), crc, name)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name that stands there twice")
    return dict(pairs)


def _lazy_tensor(file: FileReader, start: int, name: str, *, dtype: str, shape: list[int],
                 data_offsets: list[int]) -> LazyTensor:
    """A tensor by its entry in the header; `start` is where the bytes of all tensors begin."""
    begin, end = data_offsets
    if not all(map(is_shape, (shape, data_offsets))):
        raise ValueError(f"{name!r} has an impossible shape or place")
    blob = _bytes_of(file, start + begin, end - begin, f"{file.path}: {name}")
    tensor = LazyTensor(blob, _DTYPES[dtype], 0, tuple(shape), contiguous(tuple(shape)))
    if tensor.nbytes != end - begin:
        raise ValueError(f"{name!r} is {end - begin} bytes, and {dtype} {shape}")
    return tensor


def _refuse_gaps(path: Path, places: list[list[int]], nbytes: int) -> None:
    at = 0
    for begin, end in sorted(places):
        if begin != at:
            raise CheckpointError(f"{path} is damaged or foreign (bytes {min(at, begin)} to {max(at, begin)} belong to "
                                  "no tensor, or to two): restore it from a copy.")
        at = end
    if at != nbytes:
        raise CheckpointError(f"{path} is cut short or has foreign bytes at its end: restore it from a copy.")
