"""Open a training checkpoint: its sections, configuration and signature, without loading tensors.

Flashy's `BaseSolver.commit` stores the state of each registered attribute under its name, and the
experiment as `xp.cfg` and `xp.sig`; AudioCraft's solvers add `best_state`, `fsdp_best_state` and `ema`.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Callable, Optional

from ..errors import CheckpointError, coded_warning
from ..experiment.config import Config
from ..experiment.xp import CHECKPOINT_FILE, HYDRA_CONFIG, HYDRA_SETTINGS, AnyPath, Experiment
from .allowlist import describe_type
from .limits import MAX_SIGNATURE
from .plain_config import Note, to_plain
from .torch_file import TorchFile

CHECKPOINT, XP_FOLDER = "checkpoint", "XP folder"  # sources of a configuration or a signature
CONFIG_OPTION = "config"  # the option `config` as the source of a configuration
# Keys of Flashy, and keys of Dora for PyTorch Lightning.
_SIGNATURES, _CONFIGS, _HISTORIES = ("xp.sig", "dora_sig"), ("xp.cfg", "dora_cfg"), ("history", "dora_link_history")
EXPERIMENT_KEYS = (*_SIGNATURES, *_CONFIGS, *_HISTORIES)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a solver, from a file or in memory."""

    where: str  # name of the checkpoint in messages
    state: Mapping[Any, Any]  # the sections by name
    config: Config
    config_source: str  # `checkpoint`, `config`, `.hydra/config.yaml` or `solver`
    sig: Optional[str]  # Dora's signature, or None if it is unknown
    file: Optional[TorchFile] = None  # None for a solver in memory
    notes: list[str] = field(default_factory=list)  # coded warnings about the checkpoint
    config_notes: Sequence[Note] = ()  # coded warnings about values of the configuration
    sig_source: Optional[str] = None  # `checkpoint`, `XP folder` or `solver`
    xp_history: list[Any] = field(default_factory=list)  # history.json of the XP folder, if the state has no history
    is_unfinished: bool = False  # whether a solver in memory may have trained since its last epoch

    @property
    def history(self) -> list[Any]:
        """The metrics, one entry per epoch."""
        return self._history or []

    @property
    def epochs(self) -> Optional[int]:
        """Number of epochs that were finished when the state was stored; None if it is unknown."""
        return None if self._history is None else len(self._history)

    @property
    def has_own_history(self) -> bool:
        """True if the history is stored in the state; the file history.json may have more epochs."""
        return _first_key(self.state, _HISTORIES) is not None

    @property
    def _history(self) -> Optional[list[Any]]:
        key = _first_key(self.state, _HISTORIES)
        history = self.state[key] if key else self.xp_history or None
        return history if isinstance(history, list) else None

    @property
    def unknown_globals(self) -> list[str]:
        """Globals and records of the file that were ignored."""
        return self.file.unknown_globals if self.file else []

    def check_experiment(self, xp: Experiment) -> None:
        """Refuse a checkpoint of another experiment; a copy of an XP folder outside of `xps` may have any name.

        Raises:
            CheckpointError: if the signatures differ.
        """
        if xp.sig is not None and self.sig not in (None, xp.sig) and xp.name_in_xps not in (None, self.sig):
            raise CheckpointError("experiment-mismatch", f"{self.where} was written by experiment {self.sig}, but is "
                                  f"in the folder of {xp.sig}", f"export experiment {self.sig}, or pass the path of "
                                  "the file and --folder DIR")

    def note_missing_epochs(self, xp: Experiment) -> None:
        """Add a warning if history.json of the experiment has more epochs than its last checkpoint."""
        epochs = len(xp.history) if self.file is not None and self.file.path.name == CHECKPOINT_FILE else 0
        if self.epochs is not None and epochs > self.epochs:
            self.notes.append(coded_warning("history-mismatch", f"history.json has {epochs} epochs, but the checkpoint "
                                            f"has {self.epochs}: the later epochs were not stored"))

    @property
    def sections_text(self) -> str:
        """The section names as one string, for a message."""
        return ", ".join(str(name) for name in self.state) or "nothing"


def open_checkpoint(path: Path, config: Optional[AnyPath] = None) -> Checkpoint:
    """Open a training checkpoint of Flashy, or of Dora with PyTorch Lightning.

    Args:
        path: a file of `torch.save`.
        config: a YAML file with the configuration, for a checkpoint that has none.

    Raises:
        CheckpointError: if the file cannot be read, is corrupted, or is not a training checkpoint.
    """
    return to_checkpoint(TorchFile.read(path), config)


def open_own_checkpoint(xp: Experiment, path: Path, config: Optional[AnyPath] = None) -> Checkpoint:
    """Open a checkpoint as `open_checkpoint`, and check that it belongs to the experiment.

    Raises:
        CheckpointError: as `open_checkpoint`, or if another experiment wrote the checkpoint.
    """
    checkpoint = open_checkpoint(path, config)
    checkpoint.check_experiment(xp)
    return checkpoint


def open_experiment(xp: Experiment, path: Path, config: Optional[AnyPath] = None, by_path: bool = False) -> Checkpoint:
    """Open a checkpoint of an experiment as `open_own_checkpoint`; the hint of an error offers another checkpoint.

    Args:
        xp: the experiment.
        path: one of its checkpoints.
        config: as for `open_checkpoint`.
        by_path: whether the hint names the other checkpoint by its path, not by the option that chooses it.

    Raises:
        CheckpointError: as `open_own_checkpoint`.
    """
    try:
        checkpoint = open_own_checkpoint(xp, path, config)
    except CheckpointError as exc:
        raise with_offer(exc, xp, path, partial(can_open, xp, config=config), by_path) from exc.__cause__
    checkpoint.note_missing_epochs(xp)
    return checkpoint


def can_open(xp: Experiment, path: Path, config: Optional[AnyPath] = None) -> bool:
    """Return whether `open_own_checkpoint` opens a checkpoint."""
    with suppress(CheckpointError):
        return bool(open_own_checkpoint(xp, path, config))
    return False


def with_offer(exc: CheckpointError, xp: Experiment, path: Path, is_valid: Callable[[Path], bool],
               by_path: bool = False) -> CheckpointError:
    """Return the error of a checkpoint with a hint that also offers another checkpoint of the experiment.

    The arguments are those of `Experiment.offer_other`.
    """
    offer = "" if exc.code == "file-changed" else xp.offer_other(path, is_valid, by_path)
    return CheckpointError(exc.code, exc.message, ", or ".join(filter(None, (exc.hint, offer))))


def to_checkpoint(file: TorchFile, config_file: Optional[AnyPath] = None) -> Checkpoint:
    """Find the configuration, signature and history of a checkpoint.

    Args:
        file: the content of the checkpoint.
        config_file: a YAML file with the configuration, for a checkpoint that has none.

    Raises:
        CheckpointError: if the file is a release, or has no configuration or an invalid one.
    """
    path, state = file.path, file.state
    if "exported" in state:
        raise CheckpointError("already-exported", f"{path} is a release, not a training checkpoint",
                              "use the training checkpoint, or the signature of its experiment")
    config_notes: list[Note] = []
    config, config_source = _find_config(file, config_file, config_notes)
    config = config.with_choices(path.parent / HYDRA_SETTINGS)
    sig, sig_source = _find_signature(file)
    xp_history = [] if _first_key(state, _HISTORIES) else _find_history(file)
    note = coded_warning("history-mismatch", "the checkpoint has no history; used the epochs of history.json")
    notes = [note] if xp_history else []
    return Checkpoint(str(path), state, config, config_source, sig, file, notes, config_notes, sig_source, xp_history)


def refuse_config_file(sections: Collection[Any], config_file: Optional[AnyPath], where: str) -> None:
    """Refuse the option `config` for a checkpoint that has its own configuration.

    Args:
        sections: the names of the sections of the checkpoint.
        config_file: the value of the option.
        where: the name of the checkpoint in the message.

    Raises:
        CheckpointError: if the checkpoint has a configuration and the option is set.
    """
    key = _first_key(sections, _CONFIGS)
    if key and config_file is not None:
        raise CheckpointError("conflicting-options", f"{where} has its own configuration ({key}), so config cannot be "
                              "used", "omit config (--config)")


def _first_key(state: Collection[Any], keys: Sequence[str]) -> Optional[str]:
    """Return the first key of `keys` that exists in the state, or None."""
    return next((key for key in keys if key in state), None)


def _find_signature(file: TorchFile) -> tuple[Optional[str], Optional[str]]:
    """Return the signature of a checkpoint and its source: the checkpoint itself, or else the XP folder."""
    key = _first_key(file.state, _SIGNATURES)
    if key is None or file.state[key] is None:
        sig = Experiment.from_folder(file.path.parent).stored_sig
        return (sig, XP_FOLDER) if sig is not None and len(sig) <= MAX_SIGNATURE else (None, None)
    sig = file.state[key]
    if not (isinstance(sig, str) and len(sig) <= MAX_SIGNATURE):
        what = f"{len(sig)} characters" if isinstance(sig, str) else describe_type(sig)
        raise CheckpointError("experiment-mismatch", f"Invalid signature {key} in {file.path}: expected a string of at "
                              f"most {MAX_SIGNATURE} characters, got {what}", "use a checkpoint that Dora wrote")
    return sig, CHECKPOINT


def _find_history(file: TorchFile) -> list[Any]:
    """Return the epochs of history.json if the file is the last checkpoint of the XP in its folder, else []."""
    xp = Experiment.from_folder(file.path.parent)
    is_own = _find_signature(file)[0] == xp.stored_sig
    return xp.history if file.path.name == CHECKPOINT_FILE and xp.argv is not None and is_own else []


def _find_config(file: TorchFile, config_file: Optional[AnyPath], notes: list[Note]) -> tuple[Config, str]:
    """Return the configuration of a checkpoint and its source, and add warnings about its values to `notes`."""
    hydra_config = file.path.parent / HYDRA_CONFIG

    def load_hydra_config() -> Optional[dict[Any, Any]]:
        try:
            return Config.load(hydra_config).values if os.path.isfile(hydra_config) else None
        except CheckpointError:
            return None

    key = _first_key(file.state, _CONFIGS)
    refuse_config_file(file.state, config_file, str(file.path))
    if key:
        return Config(to_plain(file.state[key], cache(load_hydra_config), notes)), CHECKPOINT
    if config_file is not None:
        return Config.load(Path(config_file)), CONFIG_OPTION
    if os.path.isfile(hydra_config):
        return Config.load(hydra_config), HYDRA_CONFIG.as_posix()
    raise CheckpointError("missing-config", f"{file.path} has no configuration (xp.cfg) and no {HYDRA_CONFIG} next to "
                          "it", f"copy {HYDRA_CONFIG} of the XP folder next to it, or name a YAML file with config "
                          "(--config FILE)")
