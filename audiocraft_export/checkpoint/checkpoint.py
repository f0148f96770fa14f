"""A training checkpoint: its sections as Flashy stored them, without loading any tensor.

Flashy's `BaseSolver.commit` stores the state of every registered attribute under its name, and the
experiment as `xp.cfg` and `xp.sig`; AudioCraft's solvers add `best_state`, `fsdp_best_state` and `ema`.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Optional

from ..errors import CheckpointError
from ..experiment.config import Config
from ..experiment.xp import CHECKPOINT_FILE, HYDRA_CONFIG, HYDRA_SETTINGS, AnyPath, Experiment
from .limits import MAX_SIGNATURE
from .plain_config import describe_type, to_plain
from .torch_file import TorchFile

CHECKPOINT, XP_FOLDER = "checkpoint", "XP folder"  # where a configuration or a signature comes from
CONFIG_OPTION = "config"  # the option, as the source of a configuration
# What Flashy stores, or else what Dora stores of PyTorch Lightning.
_SIGNATURES, _CONFIGS, _HISTORIES = ("xp.sig", "dora_sig"), ("xp.cfg", "dora_cfg"), ("history", "dora_link_history")
EXPERIMENT_KEYS = (*_SIGNATURES, *_CONFIGS, *_HISTORIES)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a solver: from a file, or of a living one."""

    where: str  # what messages call it
    state: Mapping[Any, Any]  # the sections by name
    config: Config
    config_source: str  # where the configuration comes from
    sig: Optional[str]  # Dora's signature, if it is known
    file: Optional[TorchFile] = None  # None for a living solver
    notes: list[str] = field(default_factory=list)  # warnings about it
    config_notes: Sequence[str] = ()  # those about values of its configuration, which they name
    sig_source: Optional[str] = None  # where the signature comes from: `checkpoint`, `XP folder` or `solver`
    xp_history: list[Any] = field(default_factory=list)  # what Dora has stored, for a state without its history
    is_unfinished: bool = False  # whether a living solver may have trained since its last epoch

    @property
    def history(self) -> list[Any]:
        """The metrics, one entry an epoch."""
        return self._history or []

    @property
    def epochs(self) -> Optional[int]:
        """How many epochs were done when it was stored, if that is known."""
        return None if self._history is None else len(self._history)

    @property
    def has_own_history(self) -> bool:
        """Whether its history is its own; that of the XP folder may be of more epochs."""
        return _first_key(self.state, _HISTORIES) is not None

    @property
    def _history(self) -> Optional[list[Any]]:
        key = _first_key(self.state, _HISTORIES)
        history = self.state[key] if key else self.xp_history or None
        return history if isinstance(history, list) else None

    @property
    def unknown_globals(self) -> list[str]:
        """Globals and records in the file that were ignored."""
        return self.file.unknown_globals if self.file else []

    def check_experiment(self, xp: Experiment) -> None:
        """Refuse a checkpoint of another experiment.

        Raises:
            CheckpointError: if the signatures differ.
        """
        if xp.sig is not None and self.sig not in (None, xp.sig):
            raise CheckpointError(f"{self.where} was written by the experiment {self.sig}, not {xp.sig}, in "
                                  f"whose folder it lies: export {self.sig}, or name the file and a folder of its own.")

    def note_missing_epochs(self, xp: Experiment) -> None:
        """Note if the experiment has more epochs than its last checkpoint."""
        epochs = len(xp.history) if self.file is not None and self.file.path.name == CHECKPOINT_FILE else 0
        if self.epochs is not None and epochs > self.epochs:
            self.notes.append(f"history.json has {epochs} epochs, this checkpoint {self.epochs}: the later ones were "
                              "not stored")

    @property
    def sections(self) -> str:
        """The names of the sections, for a message."""
        return ", ".join(str(name) for name in self.state) or "nothing"


def open_checkpoint(path: Path, config: Optional[AnyPath] = None) -> Checkpoint:
    """Open a training checkpoint that a Flashy solver, or Dora's Lightning, wrote with `torch.save`.

    `config` is a YAML file with the configuration of a checkpoint that holds none.

    Raises:
        CheckpointError: if it is no intact training checkpoint.
    """
    return to_checkpoint(TorchFile.read(path), config)


def open_experiment(xp: Experiment, path: Path, config: Optional[AnyPath] = None) -> Checkpoint:
    """Open a checkpoint of an experiment, as `open_checkpoint`.

    Raises:
        CheckpointError: if it is no intact training checkpoint, or one of another experiment.
    """
    checkpoint = open_checkpoint(path, config)
    checkpoint.check_experiment(xp)
    checkpoint.note_missing_epochs(xp)
    return checkpoint


def to_checkpoint(file: TorchFile, config_file: Optional[AnyPath] = None) -> Checkpoint:
    """The training checkpoint in a file.

    Raises:
        CheckpointError: if it is a release, or has no configuration.
    """
    path, state = file.path, file.state
    if "exported" in state:
        raise CheckpointError(f"{path} is a release already (it was exported before): there is nothing to export; "
                              "name the training checkpoint or its signature.")
    config_notes: list[str] = []
    config, config_source = _find_config(file, config_file, config_notes)
    config.with_choices(path.parent / HYDRA_SETTINGS)
    sig, sig_source = _find_signature(file)
    xp_history = [] if _first_key(state, _HISTORIES) else _find_history(file)
    notes = ["the checkpoint holds no history: its epochs are those of history.json"] if xp_history else []
    return Checkpoint(str(path), state, config, config_source, sig, file, notes, config_notes, sig_source, xp_history)


def refuse_config_file(sections: Collection[Any], config_file: Optional[AnyPath], where: str) -> None:
    """Refuse to name the configuration of a checkpoint whose sections have their own; `where` is what it is called.

    Raises:
        CheckpointError: if both are there.
    """
    key = _first_key(sections, _CONFIGS)
    if key and config_file is not None:
        raise CheckpointError(f"{where} holds its own configuration ({key}): leave config (--config) out.")


def _first_key(state: Collection[Any], keys: Sequence[str]) -> Optional[str]:
    return next((key for key in keys if key in state), None)


def _find_signature(file: TorchFile) -> tuple[Optional[str], Optional[str]]:
    """The signature in a checkpoint, or that of the XP folder that it lies in, and where it comes from."""
    key = _first_key(file.state, _SIGNATURES)
    if key is None or file.state[key] is None:
        sig = Experiment.from_folder(file.path.parent).stored_sig
        return (sig, XP_FOLDER) if sig is not None and len(sig) <= MAX_SIGNATURE else (None, None)
    sig = file.state[key]
    if not (isinstance(sig, str) and len(sig) <= MAX_SIGNATURE):
        what = f"a text of {len(sig)} characters" if isinstance(sig, str) else describe_type(sig)
        raise CheckpointError(f"xp.sig of {file.path} is {what}, no signature: name a checkpoint that "
                              "a training of Dora wrote.")
    return sig, CHECKPOINT


def _find_history(file: TorchFile) -> list[Any]:
    """The epochs that Dora has stored of the experiment whose last checkpoint this is; none of a foreign one's."""
    xp = Experiment.from_folder(file.path.parent)
    is_own = _find_signature(file)[0] == xp.stored_sig
    return xp.history if file.path.name == CHECKPOINT_FILE and xp.argv is not None and is_own else []


def _find_config(file: TorchFile, config_file: Optional[AnyPath], notes: list[str]) -> tuple[Config, str]:
    """The configuration in a checkpoint, in the named file or beside it, and its source; adds warnings to `notes`."""
    beside = file.path.parent / HYDRA_CONFIG

    def load_beside() -> Optional[dict[Any, Any]]:
        try:
            return Config.load(beside).values if os.path.isfile(beside) else None
        except CheckpointError:
            return None

    key = _first_key(file.state, _CONFIGS)
    refuse_config_file(file.state, config_file, str(file.path))
    if key:
        return Config(to_plain(file.state[key], cache(load_beside), notes)), CHECKPOINT
    if config_file is not None:
        return Config.load(Path(config_file)), CONFIG_OPTION
    if os.path.isfile(beside):
        return Config.load(beside), HYDRA_CONFIG.as_posix()
    raise CheckpointError(f"{file.path} holds no configuration (xp.cfg), and no {HYDRA_CONFIG} lies beside it: "
                          "put that file of the XP folder beside it, or name a YAML file with config (--config FILE).")
