"""After a training whose export failed: what is safe, and the command that exports it later."""

import shlex

from ..errors import ExperimentError, ExportError
from ..experiment.xp import Experiment
from ..options import ExportOptions


def failure_after_training(exc: ExportError, xp: Experiment, options: ExportOptions) -> ExportError:
    """The error to show if only the export after a training failed."""
    stored = xp.checkpoints
    if not stored:
        remedy = " Store checkpoints, or export from the living solver (ExportMixin, whose export_after names the " \
                 "method that trains)."
        return ExportError(f"The training of XP {xp.sig} is finished, but it stored no checkpoint and its export "
                           f"failed: {exc}{remedy if isinstance(exc, ExperimentError) else ''}")
    if options.checkpoint is None and xp.checkpoint_path() not in stored:
        names = [path.stem.partition("_")[2] for path in stored]
        options = options.replace(checkpoint=max(names, key=lambda name: int(name) if name.isdecimal() else -1))
    return ExportError(f"The training of XP {xp.sig} is finished and its checkpoints are safe in {xp.folder}, but its "
                       f"export failed: {exc} To export it later: {export_command(xp, options)}")


def export_command(xp: Experiment, options: ExportOptions = ExportOptions()) -> str:
    """The command that exports an experiment to the default folder, quoted for a shell."""
    target = [str(xp.folder)]
    if xp.folder.parent.name == "xps":
        target = [str(xp.sig), "--dora-dir", str(xp.folder.parent.parent)]
    return shlex.join(["audiocraft-export", "run", *target, *options.flags])
