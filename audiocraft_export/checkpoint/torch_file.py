"""A file of torch.save: its records and its content, without reading its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .limits import MAX_PICKLE
from .plain_config import describe_type
from .tensor import LazyTensor
from .unpickler import unpickle
from .zip_reader import TorchZipReader

FILE_VERSIONS = range(1, 11)  # that torch reads (caffe2/serialize/versions.h, the same in 2.1 and 2.13)
_OF_TRAININGS = ("xp.cfg", "dora_cfg", "optim")  # how names of sections begin that only a training checkpoint has
RECORDS = ("data.pkl", "byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id")


@dataclass(frozen=True)
class Source:
    """A checkpoint as a manifest names it."""

    name: str
    bytes: int
    mtime_ns: int
    identity: str  # sha256 of what it holds, by the CRC-32 of each record


@dataclass(frozen=True)
class TorchFile:
    """An open file of `torch.save`; a file that replaces it meanwhile is not seen."""

    path: Path
    archive: TorchZipReader
    state: Mapping[Any, Any]
    unknown_globals: list[str]  # globals and records in it that were ignored

    @classmethod
    def read(cls, path: Path) -> TorchFile:
        """Read all but the tensors.

        Raises:
            CheckpointError: if it is no intact file of torch.save that holds a dict.
        """
        archive = TorchZipReader(path)
        _check_numbers(archive)
        pickled = archive.blob("data.pkl")
        if pickled.nbytes > MAX_PICKLE:
            raise CheckpointError(f"{path} holds {pickled.nbytes} bytes beside its tensors, more than any training: "
                                  "keep what is no tensor out of it.")
        state, unknown_globals = unpickle(pickled.read_checked(), lambda key: archive.blob(f"data/{key}"), str(path))
        if not isinstance(state, dict):
            raise CheckpointError(f"{path} holds {describe_type(state)}, not the sections of a training "
                                  "checkpoint: name the checkpoint.th of an XP.")
        foreign = [f"record {name}" for name in archive.names if name not in RECORDS and not name.startswith("data/")]
        return cls(path, archive, state, [*unknown_globals, *foreign])

    @property
    def source(self) -> Source:
        """What a manifest says of the file."""
        stat = self.archive.stat
        return Source(self.path.name, stat.st_size, stat.st_mtime_ns, self.archive.identity)

    @property
    def is_training(self) -> bool:
        """Whether it is a training checkpoint, of Flashy or not, and neither a release nor weights alone."""
        found = [value for name, value in self.state.items()
                 if isinstance(name, str) and name.startswith(_OF_TRAININGS)]
        return "exported" not in self.state and not all(isinstance(value, (str, LazyTensor)) for value in found)


def _check_numbers(archive: TorchZipReader) -> None:
    """Check the records that say how torch has to read the others; torch refuses what is refused here."""
    for name in archive.names:
        if name not in RECORDS and name.lower() in RECORDS:
            raise CheckpointError(f"{archive.path} is no plain file of torch.save (record {name}, which torch takes "
                                  f"for {name.lower()}): restore it from a copy.")
    byte_order = archive.blob("byteorder").read_checked() if "byteorder" in archive.names else b"little"
    if byte_order == b"big":
        raise CheckpointError(f"{archive.path} was written on a big-endian machine: load and save it again on this "
                              "one.")
    version = archive.blob("version").read_checked().strip()
    alignment = archive.blob(".storage_alignment").read_checked() if ".storage_alignment" in archive.names else b"64"
    if byte_order != b"little" or not version.isdigit() or int(version) not in FILE_VERSIONS or not alignment.isdigit():
        raise CheckpointError(f"{archive.path} is damaged, or was written by a later torch (byte order {byte_order!r}, "
                              f"version {version!r}, alignment {alignment!r}): restore it from a copy.")
