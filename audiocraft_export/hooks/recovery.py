"""After a training whose export failed: what is safe, and the command that exports it later."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import combinations
from typing import Any, Optional

from dora.log import fatal

from ..checkpoint.checkpoint import Checkpoint, open_experiment
from ..errors import ExperimentError, ExportError
from ..experiment.xp import XPS, Experiment
from ..options import AUDIOCRAFT, ExportOptions
from ..pipeline.export import check_export

MAX_CHANGES = 3  # of options, by the command that is offered
MAX_CHECKPOINTS = 3  # that are tried


def failure_after_training(exc: ExportError, xp: Experiment, options: ExportOptions) -> ExportError:
    """The error to show if only the export after a training failed."""
    if not xp.checkpoints:
        remedy = " Store checkpoints, or export from the living solver (ExportMixin, whose export_after names the " \
                 "method that trains)."
        return ExportError(f"The training of XP {xp.sig} is finished, but it stored no checkpoint and its export "
                           f"failed: {exc}{remedy if isinstance(exc, ExperimentError) else ''}")
    working = None if exc.has_command else working_options(xp, options)
    later = f" To export it later: {export_command(xp, working)}" if working else ""
    return ExportError(f"The training of XP {xp.sig} is finished and its checkpoints are safe in {xp.folder}, but its "
                       f"export failed: {exc}{later}")


@contextmanager
def fatal_errors(is_wrapped: bool = True) -> Iterator[None]:
    """Under with_export, end the process with the sentence of an ExportError, without Hydra's traceback around it."""
    try:
        yield
    except ExportError as exc:
        if is_wrapped:
            fatal(str(exc))
        raise


def working_options(xp: Experiment, options: ExportOptions) -> Optional[ExportOptions]:
    """The options with which an export can succeed, as few as possible of them changed; None if there are none."""
    @cache
    def checkpoint(name: Any, config: Any) -> Checkpoint:
        return open_experiment(xp, xp.checkpoint(name), config)

    for has_room in (False, True):  # if no disk has any, somebody has to make some
        for changed in _candidates(xp, options):
            with suppress(ExportError):
                opened = checkpoint(changed.checkpoint, str(changed.config) if changed.config else None)
                check_export(opened, xp.folder, changed, has_room)
                return changed
    return None


def export_command(xp: Experiment, options: ExportOptions = ExportOptions()) -> str:
    """The command that exports an experiment, quoted for a shell."""
    target = [str(xp.folder)]
    if xp.folder.parent.name == XPS:
        target = [str(xp.sig), "--dora-dir", str(xp.folder.parent.parent)]
    folder = ["--folder", str(options.folder)] if options.folder else []
    return shlex.join(["audiocraft-export", "run", *target, *folder, *options.flags])


def _candidates(xp: Experiment, options: ExportOptions) -> Iterator[ExportOptions]:
    if options.verify == "load":  # whether that succeeds, only a written release shows
        options = options.replace(verify="bytes")
    changes = [(name, value) for name, value in _changes(xp) if getattr(options, name) != value]
    for count in range(MAX_CHANGES + 1):
        for chosen in map(dict, combinations(changes, count)):
            if len(chosen) == count:
                yield options.replace(**chosen)


def _changes(xp: Experiment) -> Iterator[tuple[str, Any]]:
    """Changes of options that may make an export possible, the least harmful ones first."""
    yield "folder", None
    names = [path.stem.partition("_")[2] for path in xp.checkpoints]
    numbered = sorted(names, key=lambda name: int(name) if name.isdecimal() else -1, reverse=True)
    yield from (("checkpoint", name or None) for name in sorted(numbered, key=bool)[:MAX_CHECKPOINTS])
    yield from (("weights", which) for which in ("best", "last", "ema"))
    yield from {"config": None, "family": None, "codec": "auto", "format": AUDIOCRAFT}.items()
    yield "codec", "none"
    yield "force", True
