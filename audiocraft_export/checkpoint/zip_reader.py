"""Read the zip container of `torch.save` record by record.

`torch.load(mmap=True)` checks no CRC-32, and a memory map crashes the process if the file is truncated or the disk
fails. This reader reads in chunks, and checks the CRC-32 of each record.

Format: `caffe2/serialize/inline_container.h` of PyTorch, as `torch.save` has written it since 1.6.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

from ..errors import RESTORE, CheckpointError, reason
from ..storage.checksum import sha256_of
from ..storage.file_reader import FileReader
from ..storage.lazy_bytes import LazyBytes
from .limits import MAX_DIRECTORY
from .zip_directory import END_SIGNATURE, END_SIZE, FLAGS, MAX_UINT32, Record, directory_begin, parse_directory

LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # the local header before a record
LOCAL_SIGNATURE = b"PK\3\4"
_AFTER_A_RECORD = (0, 12, 16, 20, 24)  # possible sizes of a data descriptor in bytes

_USE_CHECKPOINT = "use the checkpoint.th of an XP folder"
_SAVE_AGAIN = "load it and save it again with torch.save if you trust it"
_BEGINNING = 512  # bytes that are enough to recognize another kind of file
_LFS_POINTER = b"version https://git-lfs"
_OTHER_FILES = (  # first bytes, description of the file, hint
    (b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "was saved in the format of torch < 1.6", _SAVE_AGAIN),
    (b"\x80", "is a pickle that was not written by torch.save", _SAVE_AGAIN),
    (b"\x1f\x8b", "is compressed with gzip", "decompress it"),
    (b"BZh", "is compressed with bzip2", "decompress it"),
    (b"\xfd7zXZ\0", "is compressed with xz", "decompress it"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "decompress it"),
    (b"\x93NUMPY", "is a NumPy array", _USE_CHECKPOINT),
)


def refuse_lfs_pointer(file: FileReader) -> None:
    """Refuse a pointer of Git LFS, which a clone without Git LFS has instead of a large file.

    Raises:
        CheckpointError: if the file is a pointer.
    """
    if file.read_bytes(0, min(len(_LFS_POINTER), file.nbytes)) == _LFS_POINTER:
        raise CheckpointError("not-a-checkpoint", f"{file.path} is a Git LFS pointer, not the file itself",
                              "run git lfs pull")


class TorchZipReader:
    """An open file of `torch.save`; a file that replaces it later is not read.

    Raises:
        CheckpointError: if the file cannot be read, is corrupted, or was not written by `torch.save`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = FileReader(path, "torch.save")
        self.stat = self._file.stat
        self._records = self._strip_root(self._read_directory())
        self.names = [*self._records]  # record names, in the order of the file
        self._blobs: dict[str, LazyBytes] = {}  # they refer to the file, not to this reader: a cycle would keep it open
        self._label = f"{path}: record "

    @property
    def identity(self) -> str:
        """sha256 of the names, sizes and CRC-32s of all records: equal for files with the same content."""
        lines = [f"{name}\0{record.nbytes}\0{record.crc}\n" for name, record in self._records.items()]
        return sha256("".join(lines).encode()).hexdigest()

    def sha256(self) -> str:
        """Read the whole file, and return its sha256.

        Raises:
            CheckpointError: if the file cannot be read, or was modified since it was opened.
        """
        return sha256_of(self._file.read(0, self.stat.st_size))

    def blob(self, name: str) -> LazyBytes:
        """Return the bytes of a record, such as `data.pkl` or `data/0`; always the same object for the same name.

        Raises:
            CheckpointError: if the record is missing, compressed or encrypted.
        """
        blob = self._blobs.get(name)
        if blob is None:
            record = self._records.get(name)
            if record is None:
                raise CheckpointError("corrupted-file", f"{self.path} is incomplete: record {name} is missing", RESTORE)
            if not record.is_stored:
                raise _damage_error(self._file, record)
            blob = LazyBytes(record.nbytes, partial(_read_record, self._file, record), record.crc, self._label + name)
            self._blobs[name] = blob
        return blob

    def _read_directory(self) -> list[Record]:
        """Read and check the central directory."""
        size = self.stat.st_size
        if not size:
            raise CheckpointError("corrupted-file", f"{self.path} is empty", RESTORE)
        beginning = self._file.read_bytes(0, min(size, _BEGINNING))
        if LOCAL_SIGNATURE.startswith(beginning):
            raise CheckpointError("corrupted-file", f"{self.path} is truncated: it has only {size} bytes", RESTORE)
        if not beginning.startswith(LOCAL_SIGNATURE):
            if not beginning.strip(b"\0"):
                raise CheckpointError("corrupted-file", f"{self.path} is corrupted: it begins with "
                                      f"{len(beginning)} zero bytes", RESTORE)
            refuse_lfs_pointer(self._file)
            description, hint = _identify(beginning, size)
            raise CheckpointError("not-a-checkpoint", f"{self.path} {description}", hint)
        end = self._file.read_bytes(size - END_SIZE, size).rjust(END_SIZE, b"\0")
        if end[-22:-18] != END_SIGNATURE or end[-2:] != b"\0\0":
            raise CheckpointError("corrupted-file", f"{self.path} is truncated or has unexpected bytes at its end",
                                  RESTORE)
        begin = directory_begin(end, size)
        if size - begin > MAX_DIRECTORY + END_SIZE:
            raise CheckpointError("corrupted-file", f"{self.path} is corrupted: its central directory claims "
                                  f"{size - begin} bytes, and the limit is {MAX_DIRECTORY}", RESTORE)
        try:
            records = parse_directory(self._file.read_bytes(begin, size), begin)
        except (ValueError, struct.error) as exc:
            raise CheckpointError("corrupted-file", f"{self.path} is corrupted: {reason(exc)}", RESTORE) from exc
        end_of_records = _begin(self._file, records[-1]) + records[-1].nbytes if records else 0
        if begin - end_of_records not in _AFTER_A_RECORD:
            raise CheckpointError("corrupted-file", f"{self.path} is corrupted: unexpected bytes before the central "
                                  "directory", RESTORE)
        return records

    def _strip_root(self, records: Sequence[Record]) -> Mapping[str, Record]:
        """Return the records by name, without the top folder that all of them must share."""
        found: dict[str, Record] = {}
        seen: set[str] = set()  # names in lower case, because torch ignores case
        end, root = 0, records[0].path.partition("/")[0] if records else ""
        for record in records:
            top, _, name = record.path.partition("/")
            key = name.lower()
            if top != root or not name or key in seen or record.offset < end or not seen and record.offset:
                raise self._unexpected_record(record, records)
            seen.add(key)
            found[name], end = record, record.offset + record.packed
        if "data.pkl" not in found or "constants.pkl" in found:
            what = "TorchScript archive" if "constants.pkl" in found else "zip archive without data.pkl"
            raise CheckpointError("not-a-checkpoint", f"{self.path} is a {what}, not a training checkpoint",
                                  _USE_CHECKPOINT)
        if not any(record.crc for record in found.values()):
            raise CheckpointError("unsupported-checkpoint", f"{self.path} was saved without checksums "
                                  "(torch.serialization.set_crc32_options), so damage would not be detected",
                                  "load it and save it again with checksums")
        return found

    def _unexpected_record(self, record: Record, records: Sequence[Record]) -> CheckpointError:
        if any(each.path.partition("/")[2] == "data.pkl" for each in records):
            return CheckpointError("corrupted-file", f"{self.path} is corrupted or was not written by torch.save: "
                                   f"unexpected record {record.path!r}", RESTORE)
        return CheckpointError("not-a-checkpoint", f"{self.path} is a zip archive without data.pkl, not a training "
                               "checkpoint", "extract it if the checkpoint is inside")


def _read_record(file: FileReader, record: Record, first: int, last: int) -> Iterator[bytes]:
    begin = _begin(file, record)
    return file.read(begin + first, begin + last)


def _begin(file: FileReader, record: Record) -> int:
    """Compare the local header of a record with the central directory, and return the offset of its bytes."""
    name = record.path.encode()
    names = record.offset + LOCAL_HEADER.size
    header = file.read_bytes(record.offset, min(names + len(name), file.nbytes))
    if len(header) < LOCAL_HEADER.size + len(name) or not record.is_stored:
        raise _damage_error(file, record)
    signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = LOCAL_HEADER.unpack_from(header)
    begin = names + len(name) + extra_size
    sizes = (0, record.nbytes, MAX_UINT32)  # 0: stored in a data descriptor; MAX_UINT32: in zip64 fields
    if signature != LOCAL_SIGNATURE or method or flags & ~FLAGS \
            or name_size != len(name) or not header.endswith(name) \
            or crc not in (0, record.crc) or size not in sizes or packed not in sizes \
            or begin + record.nbytes > file.nbytes:
        raise _damage_error(file, record)
    return int(begin)


def _damage_error(file: FileReader, record: Record) -> CheckpointError:
    return CheckpointError("corrupted-file", f"{file.path} is corrupted or was not written by torch.save: record "
                           f"{record.path!r} is compressed, encrypted or inconsistent", RESTORE)


def _identify(beginning: bytes, size: int) -> tuple[str, str]:
    """Identify a file of another format by its first bytes; return a description and a hint.

    Args:
        beginning: the first bytes.
        size: the size of the whole file in bytes.
    """
    if beginning.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "is an HTML page", "download the file again: the server answered with a web page"
    if beginning[257:262] == b"ustar":
        return "is a tar archive", "extract it and use the checkpoint inside"
    if beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") <= size - 8:  # the length of its header
        return "is a safetensors file, which has only weights", _USE_CHECKPOINT
    found = (rest for signature, *rest in _OTHER_FILES if beginning.startswith(signature))
    unknown = "is a text file" if _is_text(beginning) else "was not written by torch.save"
    description, hint = next(found, (unknown, _USE_CHECKPOINT))
    return description, hint


def _is_text(beginning: bytes) -> bool:
    """Return whether bytes are UTF-8 without control characters; the last character may be truncated."""
    text = beginning.decode(errors="ignore")
    is_utf8 = len(beginning) - len(text.encode()) < 4
    return is_utf8 and all(char.isprintable() or char in "\t\n\r\ufeff" for char in text)
