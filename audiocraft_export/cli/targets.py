"""Find what a command line names: the Dora folder, and experiments in it or elsewhere."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from ..errors import ExperimentError, ExportError
from ..experiment.xp import XPS, AnyPath, Experiment, find_xp

if TYPE_CHECKING:
    from ..checkpoint.checkpoint import Checkpoint


def add_dora_dir(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the Dora folder."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dora-dir", metavar="DIR", help="the Dora folder (default: that of -P, $AUDIOCRAFT_DORA_DIR, "
                                                         "that of $DORA_PACKAGE, ./outputs)")
    where.add_argument("-P", "--package", help="training package, whose main is asked for its Dora folder")


class DoraDir:
    """The Dora folder of a command line, found when it is first needed: importing a training package takes seconds."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._is_chosen = bool(args.dora_dir or args.package)
        self._package = args.package or os.environ.get("DORA_PACKAGE")
        self._folder = args.dora_dir or (None if args.package else os.environ.get("AUDIOCRAFT_DORA_DIR"))

    @property
    def known(self) -> Optional[Path]:
        """The folder, or None if only a training package knows it."""
        return None if self._package and not self._folder else Path(self._folder or "outputs")

    @cached_property
    def path(self) -> Path:
        """The folder.

        Raises:
            ExportError: if the training package cannot be imported, or has no main of Dora.
        """
        return self.known or _ask_package(f"{self._package}.{os.environ.get('DORA_MAIN_MODULE') or 'train'}")

    def for_codec(self, xp: Experiment) -> Optional[Path]:
        """The folder in which `//sig/` of an experiment is looked up, if it is not the one that the experiment is in.

        For an experiment that was copied elsewhere it is this one, unless a training package would have to be imported
        that nobody named.
        """
        is_cheap = os.environ.get("AUDIOCRAFT_DORA_DIR") or not os.environ.get("DORA_PACKAGE")
        is_copy = xp.folder.absolute().parent.name != XPS
        return self.path if self._is_chosen or is_cheap and is_copy else None


def find_experiment(target: str, dora_dir: DoraDir) -> Experiment:
    """Find the experiment of a signature, a prefix of one, an XP folder or a checkpoint file.

    Raises:
        ExportError: if there is none; one without a checkpoint is no error.
    """
    path = Path(target).absolute()
    if not target or os.sep in target and not os.path.exists(target):
        raise ExperimentError(f"There is no file or folder {target!r}: give a signature, or the path of an XP folder "
                              "or of a checkpoint.")
    if os.path.isfile(path):
        return Experiment.from_folder(path.parent)
    return Experiment.from_folder(path) if os.path.isdir(path) else find_xp(target, dora_dir.path)


def find_checkpoint(target: str, xp: Experiment, name: Union[str, int, None] = None) -> Path:
    """The checkpoint file of a target: the target itself, or that of its experiment with this epoch or name.

    Raises:
        ExperimentError: if there is none, or the target is a file and a name is given, too.
    """
    if not os.path.isfile(target):
        return xp.checkpoint(name).absolute()
    if name is not None:
        raise ExperimentError(f"{target} is a checkpoint already: leave --checkpoint {name} out, or "
                              "name the XP folder.")
    return Path(target).absolute()


def open_target(target: str, dora_dir: DoraDir, name: Union[str, int, None] = None,
                config: Optional[AnyPath] = None) -> tuple[Experiment, Checkpoint]:
    """Open the checkpoint of a target; one that is named by its file may be of any experiment.

    Raises:
        ExportError: as `find_experiment` and `find_checkpoint`, or if it cannot be read.
    """
    from ..checkpoint.checkpoint import open_checkpoint, open_experiment
    xp = find_experiment(target, dora_dir)
    path = find_checkpoint(target, xp, name)
    is_file = os.path.isfile(target)
    return xp, open_checkpoint(path, config) if is_file else open_experiment(xp, path, config)


def _ask_package(module: str) -> Path:
    sys.path.insert(0, str(Path.cwd()))  # as the command `dora` does
    stderr = io.StringIO()
    try:
        with redirect_stdout(sys.stderr), redirect_stderr(stderr):
            return Path(import_module(module).main.dora.dir)
    except (Exception, SystemExit) as exc:  # importing a training package may run into anything
        said = str(exc) if isinstance(exc, Exception) else re.sub(r"\x1b\[[0-9;]*m", "", stderr.getvalue())
        raise ExportError(f"The training package cannot be asked for its Dora folder: {module} fails ("
                          f"{type(exc).__name__}: {' '.join(said.split())}); name the folder with --dora-dir.") from exc
