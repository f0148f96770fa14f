"""After a training whose export failed: what is safe, and the command that exports it later."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..errors import ExperimentError, ExportError
from ..experiment.xp import CHECKPOINT_FILE, Experiment
from ..options import ExportOptions


def after_training(exc: ExportError, sig: str, xp_folder: Path, options: ExportOptions) -> ExportError:
    """The error to show when a training went well and its export did not: what is safe, and how to go on."""
    stored = Experiment(xp_folder, sig).checkpoints
    if not stored:
        none = isinstance(exc, ExperimentError)
        remedy = " Store checkpoints, or export from the living solver (ExportMixin)." if none else ""
        return ExportError(f"The training of XP {sig} is finished, but it stored no checkpoint and its export failed: "
                           f"{exc}{remedy}")
    if options.checkpoint is None and xp_folder / CHECKPOINT_FILE not in stored:
        names = [path.stem.partition("_")[2] for path in stored]
        options = options.replace(checkpoint=max(names, key=lambda name: int(name) if name.isdecimal() else -1))
    return ExportError(f"The training of XP {sig} is finished and its checkpoints are safe in {xp_folder}, but its "
                       f"export failed: {exc} To export it later: {command_line(xp_folder, sig, options)}")


def command_line(xp_folder: Path, sig: str, options: ExportOptions = ExportOptions()) -> str:
    """The command that exports an experiment to the default folder, ready for a shell."""
    where = [sig, "--dora-dir", str(xp_folder.parent.parent)] if xp_folder.parent.name == "xps" else [str(xp_folder)]
    return shlex.join(["audiocraft-export", "run", *where, *options.flags])
