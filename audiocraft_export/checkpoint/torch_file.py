"""A file of torch.save: its records and its content, without reading its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .limits import MAX_PICKLE
from .plain_config import describe_type
from .unpickler import unpickle
from .zip_reader import TorchZipReader

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
        if "byteorder" in archive.names and archive.blob("byteorder").read_checked(0, 6) != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine: load and save it again on this one.")
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
        """Whether it is a training checkpoint, not a release."""
        return "xp.cfg" in self.state and "exported" not in self.state and not isinstance(self.state["xp.cfg"], str)
