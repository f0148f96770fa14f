"""Find the Dora folder."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Optional

from ..errors import ExportError, describe_exception
from .xp import ARGV, CHECKPOINT_FILE, HISTORY, HYDRA_CONFIG, XPS, AnyPath, Experiment

XP_FILES = (ARGV, str(HYDRA_CONFIG.parent), HISTORY, CHECKPOINT_FILE)  # each of them tells that a folder is an XP
DEFAULT = "outputs"


def resolve_dora_dir(dora_dir: Optional[AnyPath] = None) -> Path:
    """Return a Dora folder; None is the one that the command uses without `--dora-dir` and `-P`.

    That is the first of: the one that the current folder is in, `$AUDIOCRAFT_DORA_DIR`, the one of the training package
    `$DORA_PACKAGE`, and `./outputs`.

    Raises:
        ExportError: if the training package cannot be imported, or has no main of Dora.
    """
    if dora_dir is not None:
        return Path(dora_dir)
    return known_dora_dir() or package_dora_dir(os.environ["DORA_PACKAGE"])


def known_dora_dir() -> Optional[Path]:
    """Return `resolve_dora_dir()`, or None if finding it requires importing a training package."""
    folder = find_dora_dir() or os.environ.get("AUDIOCRAFT_DORA_DIR")
    return None if not folder and os.environ.get("DORA_PACKAGE") else Path(folder or DEFAULT)


def codec_dora_dir(xp: Experiment, dora_dir: Optional[AnyPath] = None) -> Optional[Path]:
    """Return the Dora folder for compression models `//sig/` of an experiment; None is its own.

    A copy of an XP folder uses the Dora folder of the command, unless finding it requires importing a package.

    Args:
        xp: the experiment.
        dora_dir: a Dora folder that was named.
    """
    if dora_dir is not None:
        return Path(dora_dir)
    return known_dora_dir() if xp.folder.absolute().parent.name != XPS else None


def find_dora_dir(start: AnyPath = ".") -> Optional[Path]:
    """Return the Dora folder that a file or folder is in, or that it is itself, or None.

    A Dora folder has a subfolder `xps` with at least one XP in it.
    """
    path = Path(os.path.realpath(start))  # the links in `grids` lead to XPs
    return next(filter(_is_dora_dir, [path, *path.parents]), None)


def is_xp(folder: AnyPath) -> bool:
    """Return whether a folder has a file that Dora, Hydra or a solver stores in an XP."""
    return any(os.path.lexists(os.path.join(folder, name)) for name in XP_FILES)


def package_dora_dir(package: str) -> Path:
    """Import the main of a training package, and return its Dora folder.

    Raises:
        ExportError: if the package cannot be imported, or has no main of Dora.
    """
    module = f"{package}.{os.environ.get('DORA_MAIN_MODULE') or 'train'}"
    sys.path.insert(0, str(Path.cwd()))  # The command `dora` does the same.
    stderr = io.StringIO()
    try:
        with redirect_stdout(sys.stderr), redirect_stderr(stderr):
            return Path(import_module(module).main.dora.dir)
    except (Exception, SystemExit) as exc:  # Importing a training package may raise any exception.
        said = exc if isinstance(exc, Exception) else SystemExit(re.sub(r"\x1b\[[0-9;]*m", "", stderr.getvalue()))
        raise ExportError("package-import-failed", f"Cannot import {module} to find its Dora folder: "
                          f"{describe_exception(said)}", "name the Dora folder with --dora-dir") from exc


def _is_dora_dir(folder: Path) -> bool:
    return any(map(is_xp, _subfolders(folder / XPS)))


def _subfolders(folder: Path) -> Iterator[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from (entry.path for entry in entries if entry.is_dir())
