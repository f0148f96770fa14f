"""The zip container of `torch.save`, read record by record.

`torch.load(mmap=True)` checks no CRC, so this reads the records itself: memory-mapped, uncompressed,
each checked against its CRC-32.

Format: `caffe2/serialize/inline_container.h` of PyTorch, as `torch.save` has written it since 1.6.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, Optional

from .errors import CheckpointError, reason

LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # the local header that stands before a record
LOCAL_SIGNATURE, END_SIGNATURE = b"PK\3\4", b"PK\5\6"
_END_SIZE = 22
FLAGS = 0x0808  # sizes after the record; names in UTF-8


@dataclass(eq=False)
class Blob:
    """The bytes of one record: where they come from, not the bytes themselves.

    Args:
        nbytes: how many.
        read: gives the bytes, when it is their turn.
        crc: CRC-32 that they must have, if it is known.
        name: what to call them in an error.
    """

    nbytes: int
    read: Callable[[], memoryview]
    crc: Optional[int] = None
    name: str = "data"
    _sound: bool = False

    def checked(self) -> memoryview:
        """The bytes, after comparing their CRC-32 (the first time).

        Raises:
            CheckpointError: if they are damaged.
        """
        view = self.read()
        if not self._sound:
            self.check(zlib.crc32(view) if self.crc is not None else None)
        return view

    def check(self, crc: Optional[int]) -> None:
        """Compare the CRC-32 that the bytes turned out to have.

        Raises:
            CheckpointError: if they are damaged.
        """
        if self.crc is not None and crc != self.crc:
            raise CheckpointError(f"{self.name} is damaged (its CRC-32 differs): restore the file from a copy.")
        self._sound = True


class Archive:
    """A file written by `torch.save`, memory-mapped.

    Args:
        path: the file.

    Raises:
        CheckpointError: if it is no such file, or one that was cut, joined, compressed or encrypted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
                self._view = memoryview(self._map)
                infos = self._directory(stream)
        except (OSError, ValueError) as exc:  # ValueError: nothing to map in an empty file
            raise CheckpointError(f"{path} cannot be read ({reason(exc)}): name a file of torch.save.") from exc
        self._infos = self._strip_root(infos)
        self._blobs: dict[str, Blob] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    @property
    def names(self) -> list[str]:
        """The names of the records, in the order of the file."""
        return list(self._infos)

    def blob(self, name: str) -> Blob:
        """One record by its name, such as `data.pkl` or `data/0`; always the same object.

        Raises:
            CheckpointError: if it is not there or not stored plainly.
        """
        if name not in self._infos:
            raise CheckpointError(f"{self.path} has no record {name}: it is incomplete, or no file of torch.save.")
        if name not in self._blobs:
            info = self._infos[name]
            begin = self._begin(info)
            view = self._view[begin:begin + info.file_size]
            self._blobs[name] = Blob(info.file_size, lambda: view, info.CRC, f"{self.path}: record {name}")
        return self._blobs[name]

    def _directory(self, stream: BinaryIO) -> list[zipfile.ZipInfo]:
        if self._view[:4] != LOCAL_SIGNATURE:
            raise CheckpointError(f"{self.path} is no checkpoint of torch >= 1.6 (no zip archive): load it and save "
                                  "it again with torch.save if you trust it.")
        end = bytes(self._view[-_END_SIZE:])
        if end[:4] != END_SIGNATURE or end[-2:] != b"\0\0":
            raise CheckpointError(f"{self.path} is cut short or has foreign bytes at its end: restore it from a copy.")
        try:
            with zipfile.ZipFile(stream) as archive:
                return archive.infolist()
        except (zipfile.BadZipFile, UnicodeDecodeError, RuntimeError, struct.error) as exc:
            raise CheckpointError(f"{self.path} is damaged ({exc}): restore it from a copy.") from exc

    def _strip_root(self, infos: Iterable[zipfile.ZipInfo]) -> Mapping[str, zipfile.ZipInfo]:
        records: dict[str, zipfile.ZipInfo] = {}
        end, root = 0, None
        for info in infos:
            top, _, name = info.filename.partition("/")
            if root not in (None, top) or not name or name in records or info.header_offset < end \
                    or root is None and info.header_offset:
                raise CheckpointError(f"{self.path} is no plain file of torch.save (record {info.filename!r} is "
                                      "out of place): restore it from a copy.")
            root, records[name], end = top, info, info.header_offset + info.compress_size
        if "data.pkl" not in records or "constants.pkl" in records:
            raise CheckpointError(f"{self.path} is no checkpoint of torch.save (it has "
                                  f"{'code of TorchScript' if 'constants.pkl' in records else 'no data.pkl'}).")
        return records

    def _begin(self, info: zipfile.ZipInfo) -> int:
        """Where the bytes of a record begin, after its local header was compared with the directory."""
        where = info.header_offset
        header = bytes(self._view[where:where + LOCAL_HEADER.size])
        if len(header) == LOCAL_HEADER.size:
            signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = LOCAL_HEADER.unpack(header)
            begin = where + LOCAL_HEADER.size + name_size + extra_size
            name = bytes(self._view[where + LOCAL_HEADER.size:begin - extra_size])
            plain = method == info.compress_type == 0 and info.file_size == info.compress_size \
                and not (flags | info.flag_bits) & ~FLAGS
            same = name == info.filename.encode() and crc in (0, info.CRC) \
                and size in (0, info.file_size, 0xFFFFFFFF) and packed in (0, info.file_size, 0xFFFFFFFF)
            if signature == LOCAL_SIGNATURE and plain and same and begin + info.file_size <= len(self._view):
                return int(begin)
        raise CheckpointError(f"{self.path} is damaged or foreign (record {info.filename!r} is not stored as "
                              "torch.save stores it): restore it from a copy.")
