"""A training checkpoint: what Flashy stored, as sections, without loading any tensor.

Flashy's `BaseSolver.commit` stores the state of every registered attribute under its name, and the
experiment as `xp.cfg` and `xp.sig`; AudioCraft's solvers add `best_state`, `fsdp_best_state` and `ema`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..errors import CheckpointError
from ..experiment.config import Config
from ..experiment.xp import CHECKPOINT_FILE, Experiment
from .plain_config import describe_type, to_plain
from .unpickler import unpickle
from .zip_reader import TorchZipReader

HYDRA_CONFIG = Path(".hydra/config.yaml")
RECORDS = ("data.pkl", "byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id")
MOST_SIGNATURE = 100  # characters
MOST_PICKLED = 50_000_000  # bytes


@dataclass(frozen=True)
class Source:
    """Which file it was: enough to see later whether it is still the same."""

    name: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class TorchFile:
    """What a file of `torch.save` holds, read from the one file that was there when it was opened.

    Args:
        path: where it was.
        archive: its records.
        state: what it holds at its top.
        unknown_globals: names in it that were ignored.
    """

    path: Path
    archive: TorchZipReader
    state: Mapping[Any, Any]
    unknown_globals: list[str]

    @classmethod
    def read(cls, path: Path) -> TorchFile:
        """Read a file, but for its tensors.

        Raises:
            CheckpointError: if it is no intact file of torch.save that holds a dict.
        """
        archive = TorchZipReader(path)
        if "byteorder" in archive and archive.blob("byteorder").read_checked(0, 6) != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine: load and save it again on this one.")
        pickled = archive.blob("data.pkl")
        if pickled.nbytes > MOST_PICKLED:
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
        """Which file it was."""
        return Source(self.path.name, self.archive.stat.st_size, self.archive.stat.st_mtime_ns)

    @property
    def is_training(self) -> bool:
        """Whether it is a training checkpoint, and no release."""
        return "xp.cfg" in self.state and "exported" not in self.state and not isinstance(self.state["xp.cfg"], str)


def refuse_training_checkpoints(*paths: Path) -> None:
    """Refuse to write a release where a training checkpoint lies.

    Raises:
        CheckpointError: if one of the files at `paths` is one.
    """
    for path in paths:
        try:
            found = os.path.isfile(path) and TorchFile.read(path).is_training
        except CheckpointError:
            found = False
        if found:
            raise CheckpointError(f"The release would take the place of the training checkpoint {path}: write it "
                                  "elsewhere.")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a solver: from a file, or of a living one.

    Args:
        where: what to call it in an error.
        state: the sections by name.
        config: the experiment's configuration.
        config_source: where the configuration comes from.
        sig: Dora's signature, if the checkpoint holds one.
        file: the file, or None for a living solver.
        notes: what else is odd about it.
    """

    where: str
    state: Mapping[Any, Any]
    config: Config
    config_source: str
    sig: Optional[str]
    file: Optional[TorchFile] = None
    notes: list[str] = field(default_factory=list)

    @property
    def history(self) -> list[Any]:
        """The metrics, one entry an epoch."""
        history = self.state.get("history")
        return history if isinstance(history, list) else []

    @property
    def unknown_globals(self) -> list[str]:
        """Names in the file that were ignored."""
        return self.file.unknown_globals if self.file else []

    def check_experiment(self, xp: Experiment) -> None:
        """Check that this is a checkpoint of an experiment.

        Raises:
            CheckpointError: if it is one of another.
        """
        if xp.sig is not None and self.sig not in (None, xp.sig):
            raise CheckpointError(f"{self.where} was written by the experiment {self.sig}, not {xp.sig}, in "
                                  f"whose folder it lies: export {self.sig}, or name the file and a folder of its own.")

    def note_missing_epochs(self, xp: Experiment) -> None:
        """Note if the experiment has more epochs than its last checkpoint."""
        epochs = len(xp.history) if self.file is not None and self.file.path.name == CHECKPOINT_FILE else 0
        if epochs > len(self.history):
            self.notes.append(f"history.json has {epochs} epochs, this checkpoint {len(self.history)}: the later ones "
                              "were not stored")

    @property
    def sections(self) -> str:
        """The names of what the checkpoint holds, for a message."""
        return ", ".join(str(name) for name in self.state) or "nothing"


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a training checkpoint.

    Args:
        path: a file written by a Flashy solver with `torch.save`.

    Raises:
        CheckpointError: if it is no intact training checkpoint.
    """
    return to_checkpoint(TorchFile.read(path))


def open_experiment(xp: Experiment, path: Path) -> Checkpoint:
    """Open a checkpoint of an experiment.

    Args:
        xp: the experiment.
        path: its checkpoint.

    Raises:
        CheckpointError: if it is no intact training checkpoint, or one of another experiment.
    """
    checkpoint = open_checkpoint(path)
    checkpoint.check_experiment(xp)
    checkpoint.note_missing_epochs(xp)
    return checkpoint


def to_checkpoint(file: TorchFile) -> Checkpoint:
    """The training checkpoint in a file.

    Raises:
        CheckpointError: if it is none.
    """
    path, state = file.path, file.state
    if "exported" in state:
        raise CheckpointError(f"{path} is a release already (it was exported before): there is nothing to export; "
                              "name the training checkpoint or its signature.")
    if "xp.cfg" in state:
        config, config_source = Config(to_plain(state["xp.cfg"])), "checkpoint"
    elif os.path.isfile(path.parent / HYDRA_CONFIG):
        config, config_source = Config.load(path.parent / HYDRA_CONFIG), HYDRA_CONFIG.as_posix()
    else:
        raise CheckpointError(f"{path} holds no configuration (xp.cfg), and no {HYDRA_CONFIG} lies beside it: "
                              "put that file of the XP folder beside it, or export another checkpoint.")
    sig = state.get("xp.sig")
    if sig is not None and not (isinstance(sig, str) and len(sig) <= MOST_SIGNATURE):
        what = f"a text of {len(sig)} characters" if isinstance(sig, str) else describe_type(sig)
        raise CheckpointError(f"xp.sig of {path} is {what}, no signature: name a checkpoint that "
                              "a training of Dora wrote.")
    return Checkpoint(str(path), state, config, config_source, sig, file)
