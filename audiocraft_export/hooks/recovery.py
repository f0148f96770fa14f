"""Report a failed export at the end of a training, with a command that exports the experiment later."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Optional

from ..errors import ExperimentError, ExportError, reason
from ..experiment.xp import MAX_OFFERED, XPS, Experiment, checkpoint_option
from ..options import AUDIOCRAFT, ExportOptions
from .distributed import is_sharded
from .messages import log

if TYPE_CHECKING:
    from ..checkpoint.checkpoint import Checkpoint

MAX_CHANGES = 3  # options that the offered command may change


def failure_after_training(exc: ExportError, xp: Experiment, options: ExportOptions) -> ExportError:
    """Return the error to show if the export at the end of a training failed; it has the code of the cause.

    Args:
        exc: the error of the export.
        xp: the experiment that was trained.
        options: the options of the failed export.
    """
    failed = f"The training of XP {xp.sig} is finished"
    if not xp.checkpoints:
        hint = "store checkpoints, or let the solver inherit from ExportMixin, whose export_after names the method " \
               "that trains" if isinstance(exc, ExperimentError) else exc.hint
        return ExportError(exc.code, f"{failed}, but it stored no checkpoint and its export failed: "
                           f"{exc.message}", hint)
    failed = f"{failed} and its checkpoints are safe in {xp.folder}, but"
    if exc.code in ("push-failed", "hub-conflict"):
        return ExportError(exc.code, f"{failed} its release was not pushed: {exc.message}", exc.hint)
    if exc.code == "scrub-dropped":  # an export that works would release what was removed
        return ExportError(exc.code, f"{failed} its export failed: {exc.message}",
                           f"run {export_command(xp, options)}, and {exc.hint}")
    # `working_options` reads no values, and would offer the same dtype again.
    unsigned = options.replace(sign=None, attest=False)  # the command does not show the path of the key
    wanted = unsigned.replace(dtype=None) if exc.code == "dtype-overflow" else unsigned
    working, hint = working_options(xp, wanted), exc.hint
    if working:
        # If unchanged options can succeed, the cause is elsewhere, such as a full disk: show its hint first.
        first = f"{hint}, then " if hint and working == unsigned else ""
        flags = "--sign and --attest" if options.attest else "--sign"
        signed = f" (add {flags} to sign it)" if options.sign is not None else ""
        what = "it" if working.weights == options.weights else f"weights={working.weights} instead"
        hint = f"{first}export {what}{signed} with: {export_command(xp, working)}"
    return ExportError(exc.code, f"{failed} its export failed: {exc.message}", hint)


def store_state(solver: Any, xp: Experiment) -> None:
    """Store the state of a solver that is only in memory, as `flashy.BaseSolver.commit` does.

    Checkpoints that exist are kept: the state is stored beside them, with the number of its epoch in the name.
    """
    import torch
    from flashy.utils import write_and_rename
    if any(map(is_sharded, solver.stateful.sources.values())):
        log("Cannot store the state of the solver: FSDP has split it over several ranks.")
        return
    epoch = len(solver.history)
    paths = [*map(xp.checkpoint_path, (None, epoch, f"{epoch}_unexported"))]
    path = next((path for path in paths if not os.path.lexists(path)), paths[-1])
    try:
        with write_and_rename(path) as stream:
            torch.save(solver.state_dict(), stream)
        log(f"Stored the state of the solver in {path}, because its export failed.")
    except Exception as exc:  # the error of the export is shown afterwards
        with suppress(OSError):
            os.remove(f"{path}.tmp")  # of `write_and_rename`
        log(f"Cannot store the state of the solver in {path}: {reason(exc)}")


def working_options(xp: Experiment, options: ExportOptions) -> Optional[ExportOptions]:
    """Return options with which an export can succeed, with as few changes as possible, or None."""
    # Here, because every training imports this module when it starts.
    from ..checkpoint.checkpoint import open_own_checkpoint
    from ..pipeline.export import check_export
    from ..pipeline.previous_scrub import with_previous_scrub
    from ..release.weights import available_weights

    @cache
    def checkpoint(name: Any, config: Any) -> "Checkpoint":
        return open_own_checkpoint(xp, xp.checkpoint(name), config)

    weights = ["best", "last", "ema"]
    with suppress(ExportError):
        weights += available_weights(checkpoint(None, None))
    for check_space in (True, False):  # Ignore full disks only if nothing fits: the user must free space.
        for changed in _candidates(xp, options, weights):
            with suppress(ExportError):
                changed = with_previous_scrub(changed.release_folder(xp.folder), changed)
                opened = checkpoint(changed.checkpoint, str(changed.config) if changed.config else None)
                check_export(opened, xp.folder, changed, check_space=check_space)
                return changed
    return None


def export_command(xp: Experiment, options: ExportOptions = ExportOptions()) -> str:
    """Return the command that exports an experiment, quoted for a shell."""
    target = [str(xp.folder)]
    if xp.folder.parent.name == XPS:
        target = [str(xp.sig), "--dora-dir", str(xp.folder.parent.parent)]
    folder = ["--folder", str(options.folder)] if options.folder else []
    return shlex.join(["audiocraft-export", "run", *target, *folder, *options.flags])


def _candidates(xp: Experiment, options: ExportOptions, weights: Sequence[str]) -> Iterator[ExportOptions]:
    """Yield the options without changes, then with one change, two changes, and so on.

    Args:
        xp: the experiment.
        options: the options of the failed export.
        weights: values of the option `weights` to try.
    """
    if options.verify == "load":  # only a written release can be loaded
        options = options.replace(verify="bytes")
    changes = [(name, value) for name, value in _changes(xp, weights) if getattr(options, name) != value]
    for count in range(MAX_CHANGES + 1):
        for chosen in map(dict, combinations(changes, count)):
            if len(chosen) == count:
                sizes = {"max_shard_size": ExportOptions.max_shard_size} if "format" in chosen else {}
                yield options.replace(**chosen, **sizes)


def _changes(xp: Experiment, weights: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield changes of single options that may make an export possible, changes with fewer effects first."""
    yield "folder", None
    yield from (("checkpoint", checkpoint_option(path.name)) for path in xp.latest_checkpoints[:MAX_OFFERED])
    yield from (("weights", which) for which in dict.fromkeys(weights))
    yield from {"config": None, "family": None, "codec": "auto", "format": AUDIOCRAFT}.items()
    yield "codec", "none"
    yield "force", True
