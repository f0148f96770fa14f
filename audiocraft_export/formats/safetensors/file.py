"""Read and write safetensors files: a JSON header, followed by the bytes of all tensors.

The safetensors library needs all tensors in memory and writes the metadata in a random order. This module streams the
tensors and always writes the same bytes, with the tensors in the order of the library.

Source: https://huggingface.co/docs/safetensors
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...checkpoint.nonfinite import NonfiniteCounter
from ...checkpoint.tensor import LazyTensor, contiguous, is_shape
from ...checkpoint.zip_reader import refuse_lfs_pointer
from ...errors import RESTORE, CheckpointError, readable_size, reason
from ...release.content import Tensors
from ...storage.file_reader import FileReader
from ...storage.lazy_bytes import LazyBytes, Sink
from ...storage.read_back import Part
from .limits import MAX_HEADER

_NAMES = {  # names by torch dtype; files store later dtypes first, so that all tensors are aligned
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0", "int16": "I16", "uint16": "U16", "float16": "F16", "bfloat16": "BF16", "int32": "I32",
    "uint32": "U32", "float32": "F32", "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_RANKS = {dtype: rank for rank, dtype in enumerate(_NAMES)}
_METADATA = "__metadata__"
_SIZE = struct.Struct("<Q")
USE_AUDIOCRAFT = "use format=audiocraft"  # a hint


class SafetensorsFile:
    """A safetensors file; the same content always gives the same bytes.

    Raises:
        CheckpointError: if the format does not support the dtype or name of a tensor, or the metadata.
    """

    def __init__(self, content: Tensors) -> None:
        tensors = sorted(content.tensors.items(), key=lambda item: (-_rank(*item), item[0]))
        self._header = _build_header(tensors, content.metadata)
        self._counters = {name: NonfiniteCounter(tensor.blob, tensor.dtype) for name, tensor in tensors}

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return len(self._header) + sum(counter.blob.nbytes for counter in self._counters.values())

    def write(self, stream: Sink, checked: bool = True) -> list[Part]:
        """Write the file.

        Args:
            stream: the destination.
            checked: as in `TorchPickle.write`.

        Returns:
            The parts of the file.

        Raises:
            CheckpointError: if bytes of a checkpoint are corrupted.
        """
        stream.write(self._header)
        blobs = [counter.blob for counter in self._counters.values()]
        return [Part(self._header), *(Part(b"", blob.nbytes, blob.copy_to(stream, checked)) for blob in blobs)]

    def check_sources(self) -> None:
        """Compare all bytes of the checkpoint with their CRC-32, without writing.

        Raises:
            CheckpointError: if bytes are corrupted.
        """
        for counter in self._counters.values():
            counter.blob.verify()

    @property
    def nonfinite(self) -> dict[str, int]:
        """Number of NaN and infinite values by tensor name, after `write`."""
        return {name: counter.count for name, counter in self._counters.items() if counter.count}


def read_safetensors(path: Path) -> Tensors:
    """Read the header of a safetensors file; the bytes of the tensors are read lazily.

    Raises:
        CheckpointError: if the file cannot be read, is a pointer of Git LFS, or is corrupted: an invalid header, gaps
            or overlaps between tensors, or unexpected bytes at the end.
    """
    file = FileReader(path, "safetensors")
    refuse_lfs_pointer(file)
    size = _SIZE.unpack(file.read_bytes(0, _SIZE.size))[0] if file.nbytes >= _SIZE.size else file.nbytes
    if size > min(MAX_HEADER, file.nbytes - _SIZE.size):
        raise CheckpointError("corrupted-file", f"{path} is truncated, or not a safetensors file", RESTORE)
    begin = _SIZE.size + size
    try:
        header = json.loads(file.read_bytes(_SIZE.size, begin), object_pairs_hook=_to_dict)
        metadata = header.pop(_METADATA, {})
        tensors = {name: _lazy_tensor(file, begin, name, **entry) for name, entry in header.items()}
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("metadata values must be strings")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise CheckpointError("corrupted-file", f"{path} is corrupted: invalid header ({exc})", RESTORE) from exc
    _refuse_gaps(path, [entry["data_offsets"] for entry in header.values()], file.nbytes - begin)
    return Tensors(tensors, metadata)


def _rank(name: str, tensor: LazyTensor) -> int:
    """Return the sort key of a dtype; raise an error if the format does not support the tensor."""
    if tensor.dtype not in _RANKS:
        raise CheckpointError("unsupported-by-safetensors",
                              f"safetensors does not support the dtype {tensor.dtype} of {name!r}", USE_AUDIOCRAFT)
    if name == _METADATA or not name.isprintable():
        raise CheckpointError("unsupported-by-safetensors", f"safetensors does not support the tensor name {name!r}",
                              USE_AUDIOCRAFT)
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
        raise CheckpointError("unsupported-by-safetensors",
                              f"safetensors supports only UTF-8 in names and metadata: {reason(exc)}",
                              USE_AUDIOCRAFT) from exc
    text += b" " * (-len(text) % 8)
    refuse_large_text(len(text), MAX_HEADER)
    return _SIZE.pack(len(text)) + text


def refuse_large_text(nbytes: int, most: int) -> None:
    """Refuse names and plain values of more than `most` bytes, which no reader would accept.

    Raises:
        CheckpointError: if there are more.
    """
    if nbytes > most:
        raise CheckpointError("unsupported-by-safetensors", f"safetensors supports {readable_size(most)} of "
                              f"names and plain values; these are {readable_size(nbytes)}", USE_AUDIOCRAFT)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; refuse duplicate keys."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("duplicate name")
    return dict(pairs)


def _lazy_tensor(file: FileReader, start: int, name: str, *, dtype: str, shape: list[int],
                 data_offsets: list[int]) -> LazyTensor:
    """Create a lazy tensor from its header entry; `start` is the offset of the tensor data in the file."""
    begin, end = data_offsets
    if not all(map(is_shape, (shape, data_offsets))):
        raise ValueError(f"{name!r} has an invalid shape or invalid data offsets")
    if dtype not in _DTYPES:
        raise ValueError(f"{name!r} has the unknown dtype {dtype!r}")
    offset = start + begin
    blob = LazyBytes(end - begin, lambda first, last: file.read(offset + first, offset + last), None,
                     f"{file.path}: {name}")
    tensor = LazyTensor(blob, _DTYPES[dtype], 0, tuple(shape), contiguous(tuple(shape)))
    if tensor.nbytes != end - begin:
        raise ValueError(f"{name!r} has {end - begin} bytes, expected {tensor.nbytes} for {dtype} {shape}")
    return tensor


def _refuse_gaps(path: Path, offsets: list[list[int]], nbytes: int) -> None:
    """Check that the data offsets of the tensors cover all data bytes of a file exactly once."""
    at = 0
    for begin, end in sorted(offsets):
        if begin != at:
            raise CheckpointError("corrupted-file", f"{path} is corrupted: data bytes {min(at, begin)} to "
                                  f"{max(at, begin)} belong to {'no tensor' if at < begin else 'two tensors'}", RESTORE)
        at = end
    if at != nbytes:
        problem = "truncated" if at > nbytes else "corrupted: unexpected bytes at its end"
        raise CheckpointError("corrupted-file", f"{path} is {problem}", RESTORE)
