"""What a command line names: the Dora folder, and experiments in it or elsewhere."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional, Union

from ..errors import ExperimentError, ExportError
from ..experiment.xp import Experiment, find_xp

if TYPE_CHECKING:
    from ..checkpoint.checkpoint import Checkpoint

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def add_dora_dir(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the Dora folder."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dora-dir", metavar="DIR", help="the Dora folder (default: that of -P, $AUDIOCRAFT_DORA_DIR, "
                                                         "that of $DORA_PACKAGE, ./outputs)")
    where.add_argument("-P", "--package", help="training package, whose main is asked for its Dora folder")


def dora_dir_of(args: argparse.Namespace) -> Callable[[], Path]:
    """Finds the Dora folder the first time it is needed: asking a training package takes seconds."""
    def find() -> Path:
        package = args.package or os.environ.get("DORA_PACKAGE")
        module = os.environ.get("DORA_MAIN_MODULE") or "train"
        return known_dora_dir(args) or _ask_package(f"{package}.{module}")
    return lru_cache(maxsize=None)(find)


def known_dora_dir(args: argparse.Namespace) -> Optional[Path]:
    """The Dora folder, if no training package has to be asked for it."""
    directory = args.dora_dir or (None if args.package else os.environ.get("AUDIOCRAFT_DORA_DIR"))
    package = args.package or os.environ.get("DORA_PACKAGE")
    return None if package and not directory else Path(directory or "outputs")


def find_experiment(target: str, dora_dir: Callable[[], Path]) -> Experiment:
    """The experiment that a target names, whether it has a checkpoint or not.

    Args:
        target: a signature or a prefix of one, an XP folder, or a checkpoint file.
        dora_dir: finds the Dora folder, if it is needed.

    Raises:
        ExportError: if there is none.
    """
    path = Path(target).absolute()
    if not target or os.sep in target and not os.path.exists(target):
        raise ExperimentError(f"There is no file or folder {target!r}: give a signature, or the path of an XP folder "
                              "or of a checkpoint.")
    if os.path.isfile(path):
        return Experiment.from_folder(path.parent)
    return Experiment.from_folder(path) if os.path.isdir(path) else find_xp(target, dora_dir())


def find_target(target: str, dora_dir: Callable[[], Path],
                checkpoint: Union[str, int, None] = None) -> tuple[Experiment, Path]:
    """The experiment and the checkpoint that a target names.

    Args:
        target: a signature or a prefix of one, an XP folder, or a checkpoint file.
        dora_dir: finds the Dora folder, if it is needed.
        checkpoint: the epoch or name of the checkpoint, where the target does not name the file.

    Raises:
        ExportError: if there is none.
    """
    xp = find_experiment(target, dora_dir)
    return xp, source_of(target, xp, checkpoint)


def source_of(target: str, xp: Experiment, checkpoint: Union[str, int, None] = None) -> Path:
    """The checkpoint that a target names.

    Args:
        target: as of `find_experiment`.
        xp: the experiment that it names.
        checkpoint: the epoch or name of the checkpoint, where the target does not name the file.

    Raises:
        ExperimentError: if there is none.
    """
    if not os.path.isfile(target):
        return xp.checkpoint(checkpoint).absolute()
    if checkpoint is not None:
        raise ExperimentError(f"{target} is a checkpoint already: leave --checkpoint {checkpoint} out, or "
                              "name the XP folder.")
    return Path(target).absolute()


def open_target(target: str, dora_dir: Callable[[], Path],
                checkpoint: Union[str, int, None] = None) -> tuple[Experiment, Checkpoint]:
    """As `find_target`, with the checkpoint open; one that is named by its file may be of any experiment.

    Args:
        target: a signature or a prefix of one, an XP folder, or a checkpoint file.
        dora_dir: finds the Dora folder, if it is needed.
        checkpoint: the epoch or name of the checkpoint, where the target does not name the file.

    Raises:
        ExportError: if there is none, or it cannot be read.
    """
    from ..checkpoint.checkpoint import open_checkpoint, open_experiment
    xp, source = find_target(target, dora_dir, checkpoint)
    return xp, open_checkpoint(source) if os.path.isfile(target) else open_experiment(xp, source)


def codec_dora_dir(xp: Experiment, args: argparse.Namespace, dora_dir: Callable[[], Path]) -> Optional[Path]:
    """The Dora folder in which `//sig/` of an experiment is looked up, if that is not the one that it is in.

    For an experiment that was copied elsewhere it is the one that was chosen, unless a training package would have to
    be asked for nothing.
    """
    known = os.environ.get("AUDIOCRAFT_DORA_DIR") or not os.environ.get("DORA_PACKAGE")
    copied = known and xp.folder.absolute().parent.name != "xps"
    return dora_dir() if args.dora_dir or args.package or copied else None


def _ask_package(module: str) -> Path:
    """The Dora folder of a training package, by the main in its module.

    Raises:
        ExportError: if the module cannot be imported, or has no main of Dora.
    """
    sys.path.insert(0, str(Path.cwd()))  # as the command `dora` does
    said = io.StringIO()
    try:
        with redirect_stdout(sys.stderr), redirect_stderr(said):
            return Path(import_module(module).main.dora.dir)
    except (Exception, SystemExit) as exc:  # importing a training package may run into anything
        why = " ".join((str(exc) if isinstance(exc, Exception) else COLOUR.sub("", said.getvalue())).split())
        raise ExportError(f"The training package cannot be asked for its Dora folder: {module} fails "
                          f"({type(exc).__name__}: {why}); name the folder with --dora-dir.") from exc
