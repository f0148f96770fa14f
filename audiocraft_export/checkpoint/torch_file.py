"""Read the content of a file of torch.save, except for the bytes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RESTORE, CheckpointError, readable_size
from .allowlist import describe_type
from .limits import MAX_PICKLE
from .tensor import LazyTensor
from .unpickler import unpickle
from .zip_reader import TorchZipReader

FILE_VERSIONS = range(1, 11)  # supported by torch (caffe2/serialize/versions.h, the same in 2.1 and 2.13)
_TRAINING_KEYS = ("xp.cfg", "dora_cfg", "optim")  # prefixes of sections that only a training checkpoint has
RECORDS = ("data.pkl", "byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id")


@dataclass(frozen=True)
class Source:
    """The checkpoint of a release, as recorded in the manifest."""

    name: str
    bytes: int
    mtime_ns: int
    identity: str  # sha256 of its content, by the CRC-32 of each record


@dataclass(frozen=True)
class TorchFile:
    """An open file of `torch.save`; a file that replaces it later is not read."""

    path: Path
    archive: TorchZipReader
    state: Mapping[Any, Any]
    unknown_globals: list[str]  # ignored globals and records

    @classmethod
    def read(cls, path: Path) -> TorchFile:
        """Read a file, except for the bytes of its tensors.

        Raises:
            CheckpointError: if the file cannot be read, is corrupted, or is not a dict saved by `torch.save`.
        """
        archive = TorchZipReader(path)
        _check_format(archive)
        pickled = archive.blob("data.pkl")
        if pickled.nbytes > MAX_PICKLE:
            raise CheckpointError("limit-exceeded", f"{path}: non-tensor data is {readable_size(pickled.nbytes)}; the "
                                  f"limit is {readable_size(MAX_PICKLE)}", "store large non-tensor data in other files")
        state, unknown_globals = unpickle(pickled.read_checked(), lambda key: archive.blob(f"data/{key}"), str(path))
        if not isinstance(state, dict):
            raise CheckpointError("not-a-checkpoint", f"{path} is not a training checkpoint: expected a dict, found "
                                  f"{describe_type(state)}", "use the checkpoint.th of an XP folder")
        extra = [f"record {name}" for name in archive.names if name not in RECORDS and not name.startswith("data/")]
        return cls(path, archive, state, [*unknown_globals, *extra])

    @property
    def source(self) -> Source:
        """The file as recorded in a manifest."""
        stat = self.archive.stat
        return Source(self.path.name, stat.st_size, stat.st_mtime_ns, self.archive.identity)

    @property
    def is_training(self) -> bool:
        """True if the file is a training checkpoint (of Flashy or another library), not a release or a state dict."""
        found = [value for name, value in self.state.items()
                 if isinstance(name, str) and name.startswith(_TRAINING_KEYS)]
        return "exported" not in self.state and not all(isinstance(value, (str, LazyTensor)) for value in found)


def _check_format(archive: TorchZipReader) -> None:
    """Check the records that describe the format of the file, as strictly as torch does."""
    for name in archive.names:
        if name not in RECORDS and name.lower() in RECORDS:
            raise CheckpointError("corrupted-file", f"{archive.path} is corrupted or was not written by torch.save: "
                                  f"unexpected record {name}, which torch reads as {name.lower()}",
                                  RESTORE)
    byte_order = archive.blob("byteorder").read_checked() if "byteorder" in archive.names else b"little"
    if byte_order == b"big":
        raise CheckpointError("unsupported-checkpoint", f"{archive.path} was written on a big-endian machine",
                              "load it and save it again with torch.save on this machine")
    version = archive.blob("version").read_checked().strip()
    alignment = archive.blob(".storage_alignment").read_checked() if ".storage_alignment" in archive.names else b"64"
    if byte_order != b"little" or not version.isdigit() or int(version) not in FILE_VERSIONS or not alignment.isdigit():
        raise CheckpointError("unsupported-checkpoint", f"{archive.path} has an unsupported format of torch.save: byte "
                              f"order {byte_order!r}, version {version!r}, alignment {alignment!r}",
                              "save it again with a supported version of torch")
