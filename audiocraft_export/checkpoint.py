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

from . import unpickle
from .archive import Archive
from .config import Config
from .errors import CheckpointError, reason
from .experiment import LAST, Experiment

HYDRA_CONFIG = Path(".hydra/config.yaml")


@dataclass(frozen=True)
class Source:
    """Which file it was: enough to see later whether it is still the same."""

    name: str
    bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Source:
        """The file at `path` as it is now.

        Raises:
            CheckpointError: if it cannot be seen.
        """
        try:
            stat = os.stat(path)
        except (OSError, ValueError) as exc:
            raise CheckpointError(f"{path} cannot be read ({reason(exc)}): name a checkpoint that is "
                                  "there.") from exc
        return cls(path.name, stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a solver: from a file, or of a living one.

    Args:
        where: what to call it in an error.
        state: the sections by name.
        config: the experiment's configuration.
        config_source: where the configuration comes from.
        sig: Dora's signature, if the checkpoint holds one.
        source: the file, or None for a living solver.
        strangers: names in the file that were ignored.
        notes: what else is odd about it.
    """

    where: str
    state: Mapping[Any, Any]
    config: Config
    config_source: str
    sig: Optional[str]
    source: Optional[Source] = None
    strangers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def history(self) -> list[Any]:
        """The metrics, one entry an epoch."""
        history = self.state.get("history")
        return history if isinstance(history, list) else []

    def refuse_to_be_replaced(self, *paths: Path) -> None:
        """Refuse to write a release where this very checkpoint lies.

        Raises:
            CheckpointError: if it is one of the files at `paths`.
        """
        if self.source and any(os.path.exists(path) and os.path.samefile(self.where, path) for path in paths):
            raise CheckpointError(f"The release would take the place of the training checkpoint {self.where}: write it "
                                  "elsewhere.")

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
    source = Source.of(path)
    state, strangers = read_file(path)
    if "exported" in state:
        raise CheckpointError(f"{path} is a release already (it was exported before): there is nothing to export; "
                              "name the training checkpoint or its signature.")
    if "xp.cfg" in state:
        config, config_source = Config(unpickle.plain(state["xp.cfg"])), "checkpoint"
    elif (path.parent / HYDRA_CONFIG).is_file():
        config, config_source = Config.load(path.parent / HYDRA_CONFIG), HYDRA_CONFIG.as_posix()
    else:
        raise CheckpointError(f"{path} holds no configuration (xp.cfg), and no {HYDRA_CONFIG} lies beside it: "
                              "put that file of the XP folder beside it, or export another checkpoint.")
    sig = state.get("xp.sig")
    if sig is not None and not isinstance(sig, str):
        raise CheckpointError(f"xp.sig of {path} is {unpickle.stranger_name(sig)}, no signature: it is not released.")
    return Checkpoint(str(path), state, config, config_source, sig, source, strangers)


def open_experiment(xp: Experiment, path: Path) -> Checkpoint:
    """Open a checkpoint of an experiment.

    Args:
        xp: the experiment.
        path: its checkpoint.

    Raises:
        CheckpointError: if it is no intact training checkpoint, or one of another experiment.
    """
    checkpoint = open_checkpoint(path)
    if xp.sig is not None and checkpoint.sig not in (None, xp.sig):
        raise CheckpointError(f"{path} was written by the experiment {checkpoint.sig}, not {xp.sig}: it was "
                              f"copied here; export {checkpoint.sig}, or name the file and a folder of its own.")
    if path.name == LAST and len(xp.history) > len(checkpoint.history):
        checkpoint.notes.append(f"history.json has {len(xp.history)} epochs, this checkpoint "
                                f"{len(checkpoint.history)}: the later ones were not stored")
    return checkpoint


def read_file(path: Path) -> tuple[Mapping[Any, Any], list[str]]:
    """What a file of `torch.save` holds at its top, and the names that were ignored.

    Raises:
        CheckpointError: if it is no intact file of torch.save that holds a dict.
    """
    archive = Archive(path)
    if "byteorder" in archive and bytes(archive.blob("byteorder").checked()) != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine: load and save it again on this one.")
    data = bytes(archive.blob("data.pkl").checked())
    state, strangers = unpickle.unpickle(data, lambda key: archive.blob(f"data/{key}"), str(path))
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds {unpickle.stranger_name(state)}, not the sections of a training "
                              "checkpoint: name the checkpoint.th of an XP.")
    return state, strangers
