"""Read the zip container of `torch.save` record by record.

`torch.load(mmap=True)` checks no CRC, and a memory map kills the process if the file is cut or the disk fails; so this
reads in chunks, and checks each record against its CRC-32.

Format: `caffe2/serialize/inline_container.h` of PyTorch, as `torch.save` has written it since 1.6.
"""

import struct
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from ..errors import CheckpointError, reason
from ..storage.file_reader import FileReader
from ..storage.lazy_bytes import LazyBytes
from .limits import MAX_DIRECTORY

LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # the local header that stands before a record
ENTRY = struct.Struct("<4s6H3L5H2L")  # of the directory, before its name, extra field and comment
END, END64, LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
LOCAL_SIGNATURE, ENTRY_SIGNATURE = b"PK\3\4", b"PK\1\2"
END_SIGNATURE, END64_SIGNATURE, LOCATOR_SIGNATURE = b"PK\5\6", b"PK\6\6", b"PK\6\7"
FLAGS = 0x0808  # sizes after the record; names in UTF-8
_FOLDER = 0x10  # in the external attributes of MS-DOS
_MAX_UINT32 = 0xFFFFFFFF  # which says that a number stands elsewhere, in 64 bits
_END_SIZE = 98  # bytes in which a zip file ends: with those for 64 bits
_AFTER_A_RECORD = (0, 12, 16, 20, 24)  # bytes: its sizes once more, in 32 or 64 bits, with a signature or without


class TorchZipReader:
    """A file written by `torch.save`, kept open: a file that replaces it meanwhile is not seen.

    Raises:
        CheckpointError: if it is not such a file, or was cut, joined, compressed or encrypted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = FileReader(path, "torch.save")
        self.stat = self._file.stat
        self._infos = self._strip_root(self._read_directory())
        self.names = [*self._infos]  # of the records, in the order of the file
        self._blobs: weakref.WeakValueDictionary[str, LazyBytes] = weakref.WeakValueDictionary()  # they hold this

    @property
    def identity(self) -> str:
        """sha256 of the names, sizes and CRC-32s of all records: equal for files that hold the same."""
        lines = [f"{name}\0{info.file_size}\0{info.CRC}\n" for name, info in self._infos.items()]
        return sha256("".join(lines).encode()).hexdigest()

    def blob(self, name: str) -> LazyBytes:
        """One record by its name, such as `data.pkl` or `data/0`; always the same object.

        Raises:
            CheckpointError: if it is not there or not stored plainly.
        """
        if name not in self._infos:
            raise CheckpointError(f"{self.path} has no record {name}: it is incomplete, or no file of torch.save.")
        blob = self._blobs.get(name)
        if blob is None:
            info = self._infos[name]
            if not _is_stored(info):
                raise self._damage_error(info)
            blob = LazyBytes(info.file_size, partial(self._read_record, info), info.CRC, f"{self.path}: record {name}")
            self._blobs[name] = blob
        return blob

    def _read_record(self, info: zipfile.ZipInfo, first: int, last: int) -> Iterator[bytes]:
        begin = self._begin(info)
        return self._file.read(begin + first, begin + last)

    def _read_directory(self) -> list[zipfile.ZipInfo]:
        size = self.stat.st_size
        if not size:
            raise CheckpointError(f"{self.path} is empty: restore it from a copy.")
        if self._file.read_bytes(0, min(size, 4)) != LOCAL_SIGNATURE:
            raise CheckpointError(f"{self.path} is no checkpoint of torch >= 1.6 (no zip archive): load it and save "
                                  "it again with torch.save if you trust it.")
        end = self._file.read_bytes(size - _END_SIZE, size).rjust(_END_SIZE, b"\0")
        if end[-22:-18] != END_SIGNATURE or end[-2:] != b"\0\0":
            raise CheckpointError(f"{self.path} is cut short or has foreign bytes at its end: restore it from a copy.")
        claimed = max(_directory_sizes(end))
        if claimed > MAX_DIRECTORY:
            raise CheckpointError(f"{self.path} is damaged or foreign (a directory of {claimed} bytes): restore it "
                                  "from a copy.")
        try:
            with open(self._file.descriptor, "rb", closefd=False) as stream, zipfile.ZipFile(stream) as archive:
                infos, directory = archive.infolist(), archive.start_dir
                end_of_records = self._begin(infos[-1]) + infos[-1].file_size if infos else 0
        except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, struct.error) as exc:
            raise CheckpointError(f"{self.path} is damaged ({reason(exc)}): restore it from a copy.") from exc
        if directory - end_of_records not in _AFTER_A_RECORD:
            raise CheckpointError(f"{self.path} has foreign bytes before its directory: restore it from a copy.")
        if not _is_whole(self._file.read_bytes(directory, size), directory, len(infos)):
            raise CheckpointError(f"{self.path} is damaged or foreign (its directory): restore it from a copy.")
        return infos

    def _strip_root(self, infos: Iterable[zipfile.ZipInfo]) -> Mapping[str, zipfile.ZipInfo]:
        """The records by name, without the folder in which all of them must lie."""
        records: dict[str, zipfile.ZipInfo] = {}
        seen: set[str] = set()  # names in lower case: torch looks for them without regard to it
        end, root = 0, None
        for info in infos:
            top, _, name = info.filename.partition("/")
            is_first = root is None
            is_renamed = info.filename != info.orig_filename  # by Python: up to a NUL, or as an extra field says
            if not is_first and top != root or not name or name.lower() in seen or info.header_offset < end \
                    or is_first and info.header_offset or is_renamed:
                raise CheckpointError(f"{self.path} is no plain file of torch.save (record {info.filename!r} is "
                                      "out of place): restore it from a copy.")
            seen.add(name.lower())
            root, records[name], end = top, info, info.header_offset + info.compress_size
        if "data.pkl" not in records or "constants.pkl" in records:
            what = "code of TorchScript" if "constants.pkl" in records else "no data.pkl"
            raise CheckpointError(f"{self.path} is no checkpoint of torch.save (it has {what}): name the checkpoint.th "
                                  "of an XP.")
        if not any(info.CRC for info in records.values()):
            raise CheckpointError(f"{self.path} was saved without checksums (torch.serialization.set_crc32_options), "
                                  "so that no damage would be found: load it, and save it again with them.")
        return records

    def _begin(self, info: zipfile.ZipInfo) -> int:
        """The offset of the bytes of a record, after comparing its local header with the directory."""
        name = info.filename.encode()
        names = info.header_offset + LOCAL_HEADER.size
        header = self._file.read_bytes(info.header_offset, min(names + len(name), self.stat.st_size))
        if len(header) < LOCAL_HEADER.size + len(name) or not _is_stored(info):
            raise self._damage_error(info)
        signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = LOCAL_HEADER.unpack_from(header)
        begin = names + len(name) + extra_size
        sizes = (0, info.file_size, 0xFFFFFFFF)  # after the record, here, or in 64 bits
        if signature != LOCAL_SIGNATURE or method or flags & ~FLAGS \
                or name_size != len(name) or not header.endswith(name) \
                or crc not in (0, info.CRC) or size not in sizes or packed not in sizes \
                or begin + info.file_size > self.stat.st_size:
            raise self._damage_error(info)
        return int(begin)

    def _damage_error(self, info: zipfile.ZipInfo) -> CheckpointError:
        return CheckpointError(f"{self.path} is damaged or foreign (record {info.filename!r} is not stored as "
                               "torch.save stores it): restore it from a copy.")


def _is_stored(info: zipfile.ZipInfo) -> bool:
    """Whether the directory says that a record is plain: not compressed, not encrypted, no folder, of this file.

    Of a folder torch reads nothing, and returns memory that it has not initialised.
    """
    return info.compress_type == 0 and info.file_size == info.compress_size and not info.flag_bits & ~FLAGS \
        and not info.external_attr & _FOLDER and not info.volume


def _is_whole(data: bytes, begin: int, count: int) -> bool:
    """Whether a directory, with all that follows it, says of itself what it is, in every field that torch reads.

    Args:
        data: from the directory, at the offset `begin`, to the end of the file.
        count: of its records.
    """
    end = 0
    for _ in range(count):
        if data[end:end + 4] != ENTRY_SIGNATURE:
            return False
        end += ENTRY.size + sum(struct.unpack_from("<3H", data, end + 28))  # of a name, an extra field and a comment
    ends = [END.pack(END_SIGNATURE, 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(end, _MAX_UINT32),
                     min(begin, _MAX_UINT32), 0)]
    if data[end:end + 4] == END64_SIGNATURE:
        made_by, needed = struct.unpack_from("<2H", data, end + 12)
        ends = [END64.pack(END64_SIGNATURE, 44, made_by, needed, 0, 0, count, count, end, begin),
                LOCATOR.pack(LOCATOR_SIGNATURE, 0, begin + end, 1), *ends]
    return data[end:] == b"".join(ends)


def _directory_sizes(end: bytes) -> Iterator[int]:
    """The sizes in bytes that the end of a zip file claims for its directory (APPNOTE.TXT, 4.3.14 to 4.3.16)."""
    yield struct.unpack("<L", end[-10:-6])[0]
    if end[-42:-38] == LOCATOR_SIGNATURE:
        yield struct.unpack("<Q", end[-58:-50])[0]
