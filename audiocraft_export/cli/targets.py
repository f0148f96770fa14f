"""Resolve the targets of a command line: the Dora folder, experiments, checkpoint files."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional, Union

from ..errors import ExperimentError, ExportError, permission_hint, reason
from ..experiment.dora_dir import codec_dora_dir, known_dora_dir, package_dora_dir
from ..experiment.xp import (
    CHECKPOINT_FILE,
    CHECKPOINT_NAME,
    MANIFEST,
    XPS,
    AnyPath,
    Experiment,
    find_xp,
    permission_error,
)
from ..options import RELEASE_FOLDER

if TYPE_CHECKING:
    from ..checkpoint.checkpoint import Checkpoint
    from ..release.manifest import Manifest

logger = logging.getLogger(__name__)


def select(targets: Sequence[str], names: Sequence[str], dora_dir: AnyPath) -> Callable[[str, str], bool]:
    """Return a function that tells whether `list` shows an XP, from its name and its overrides.

    An XP is shown if it has all patterns of overrides, and is one of those that signatures and paths name, if any do.

    Args:
        targets: signatures or prefixes, paths of XPs or files in them, and patterns of overrides.
        names: the names of all XPs in the Dora folder.
    """
    xps = Path(os.path.realpath(dora_dir)) / XPS
    named = {target: found for target in targets if (found := _named(target, names, xps))}
    patterns = [target for target in targets if target not in named]

    def is_shown(name: str, overrides: str) -> bool:
        return all(_has(overrides, pattern) for pattern in patterns) and (not named or any(
            name in found or _has(overrides, target) for target, found in named.items()))
    return is_shown


def _named(target: str, names: Sequence[str], xps: Path) -> set[str]:
    """Return the names of the XPs that a signature, a prefix or a path stands for."""
    found = {name for name in names if target and name.startswith(target)}
    if not target or not os.path.exists(target):
        return found
    path = Path(os.path.realpath(target))
    if path in (xps, *xps.parents):
        return {*names}
    # With the path as given, because a folder in an XP may be a symlink, and with real paths, because an XP may be one.
    around = {Path(os.path.realpath(each)) for given in (path, Path(os.path.abspath(target)))
              for each in (given, *given.parents)}
    return found | {name for name in names if Path(os.path.realpath(xps / name)) in around}


def _has(overrides: str, pattern: str) -> bool:
    return pattern in overrides or fnmatchcase(overrides, f"*{pattern}*")


def add_releases(group: argparse._ArgumentGroup) -> None:
    """Add the targets of a command that reads releases, and `--dora-dir`."""
    group.add_argument("targets", nargs="+", metavar="SIG|PATH",
                       help="signatures or prefixes of experiments, XP folders, checkpoint files (for the release of "
                            "their XP), release folders, files of releases")
    add_dora_dir(group)


def add_dora_dir(parser: argparse._ActionsContainer, default: Optional[str] = argparse.SUPPRESS) -> None:
    """Add the options that name the Dora folder; a verb leaves the default to the options before it."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dora-dir", metavar="DIR", type=os.path.expanduser, default=default,
                       help="Dora folder (default: from -P; or else the one that the current folder is in, "
                            "$AUDIOCRAFT_DORA_DIR, $DORA_PACKAGE, ./outputs)")
    where.add_argument("-P", "--package", default=default,
                       help="training package that defines the Dora folder (its main is imported)")


class DoraDir:
    """The Dora folder of a command line, resolved on first use: importing a training package takes seconds."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._named: Optional[str] = getattr(args, "dora_dir", None)
        self._package: Optional[str] = getattr(args, "package", None)

    @cached_property
    def known(self) -> Optional[Path]:
        """The Dora folder; None if finding it requires importing a training package."""
        if self._named or self._package:
            return Path(self._named) if self._named else None
        return known_dora_dir()

    @cached_property
    def path(self) -> Path:
        """The Dora folder.

        Raises:
            ExportError: if the training package cannot be imported, or has no main of Dora.
        """
        folder = self.known or package_dora_dir(self._package or os.environ["DORA_PACKAGE"])
        logger.debug("Dora folder: %s", folder)
        return folder

    def for_codec(self, xp: Experiment) -> Optional[Path]:
        """Return the Dora folder for compression models `//sig/`; None is the Dora folder of the experiment."""
        return codec_dora_dir(xp, self.path if self._named or self._package else None)


def find_experiment(target: str, dora_dir: DoraDir) -> Experiment:
    """Find the experiment of a signature, a prefix, an XP folder or a checkpoint file.

    Raises:
        ExportError: if the experiment does not exist. An experiment without a checkpoint is not an error.
    """
    path = Path(target).absolute()
    is_path = os.path.basename(target) != target or path.suffix == ".th"
    if not target or (is_path or os.path.islink(path)) and not os.path.exists(target):
        raise _missing_path(path, target)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ExperimentError("wrong-target", f"{target} is not a regular file: expected a checkpoint or an XP folder")
    if os.path.isfile(path):
        return Experiment.from_folder(path.parent)
    return Experiment.from_folder(path) if os.path.isdir(path) else find_xp(target, dora_dir.path)


def _missing_path(path: Path, target: str) -> ExperimentError:
    """Return the error of a path that does not exist, or is in a folder that cannot be accessed."""
    denied = permission_error(path)
    if denied is not None:
        return ExperimentError("read-failed", f"Cannot read {target!r}: {reason(denied)}",
                               "check the permissions of the folders above it")
    if os.path.islink(path):
        return ExperimentError("read-failed", f"{target} is a dangling symlink", "make its target available")
    return ExperimentError("path-not-found", f"No such file or folder: {target!r}",
                           "give a signature, or the path of an XP folder or a checkpoint")


def find_release(target: str, dora_dir: DoraDir) -> Path:
    """Return the release of a target: the path itself, or the release in the XP folder of an experiment or checkpoint.

    Raises:
        ExportError: if the target is empty, is a signature and the experiment does not exist, or is in a folder that
            cannot be accessed.
    """
    if not target:  # an empty shell variable; as a path, it would be the current folder
        raise ExperimentError("path-not-found", "No such file or folder: ''", "give a signature or a release folder")
    path = Path(target)
    is_sig = not os.path.lexists(path) and target != ".." and path.name == target and not path.suffix
    if is_sig and os.path.isdir(dora_dir.path / XPS):
        path = find_xp(target, dora_dir.path).folder
    is_checkpoint = os.path.isfile(path) and CHECKPOINT_NAME.fullmatch(path.name)
    release = (path.parent if is_checkpoint else path) / RELEASE_FOLDER
    for folder in path, release:
        if denied := permission_error(folder / MANIFEST):
            raise ExperimentError("read-failed", f"Cannot read {folder}: {reason(denied)}", permission_hint(denied))
    return path if os.path.lexists(path / MANIFEST) or not os.path.isfile(release / MANIFEST) else release


def folder_of_release_file(path: Path) -> Path:
    """Return the release folder that a file belongs to, or else the path itself."""
    if not os.path.isfile(path) or CHECKPOINT_NAME.fullmatch(path.name):
        return path
    from ..release.manifest import SIGNATURE
    manifest = read_manifest(path.parent)
    is_part = path.name == MANIFEST or manifest and path.name in (SIGNATURE, *(file.name for file in manifest.files))
    return path.parent if is_part else path


def read_manifest(folder: Path) -> Optional[Manifest]:
    """Return the manifest of a release folder; None if it is missing or invalid."""
    from ..release.manifest import Manifest
    return Manifest.load_or_none(folder) if os.path.isfile(folder / MANIFEST) else None


def find_source(target: str, dora_dir: DoraDir) -> str:
    """Return the XP folder of a target that is a release or a file of one; other targets are returned as they are.

    Raises:
        ExperimentError: if no experiment with a checkpoint is found for the release.
    """
    release = folder_of_release_file(Path(os.path.abspath(target))) if os.path.exists(target) else None
    if release is None or not os.path.isfile(release / MANIFEST) or Experiment(release, None).checkpoints:
        return target
    manifest = read_manifest(release)
    sig = manifest.sig if manifest else None
    parent = Experiment.from_folder(release.parent)
    is_own = parent.sig is None or sig in (None, parent.sig)
    xp = parent if is_own and parent.checkpoints else _find_stored(sig, dora_dir)
    if xp is None:
        where = f"{dora_dir.path} has no XP {sig} with a checkpoint" if sig else "the experiment is unknown"
        raise ExperimentError("wrong-target", f"{target} is a release, and {where}",
                              _other_verbs(target, manifest is not None and manifest.is_complete(release)))
    return str(xp.folder)


def _find_stored(sig: Optional[str], dora_dir: DoraDir) -> Optional[Experiment]:
    """Return the experiment of a signature in the Dora folder, if it has a checkpoint."""
    with suppress(ExperimentError):
        xp = find_xp(sig or "", dora_dir.path)
        return xp if xp.sig == sig and xp.checkpoints else None
    return None


def _other_verbs(target: str, is_complete: bool) -> str:
    """Return the hint that names what can be done with a release without its experiment."""
    verbs = {"verify": "checks", **({"inspect": "shows"} if is_complete else {})}
    return ", ".join(f"{shlex.join(['audiocraft-export', verb, target])} {does} it" for verb, does in verbs.items())


def distinct(targets: Sequence[str], find: Callable[[str], AnyPath]) -> list[str]:
    """Return the targets without those for which `find` returns the same path as for an earlier one.

    The checkpoint.th of an XP is the same target as its folder. Targets that cause an error are kept.
    """
    if len(targets) < 2:
        return [*targets]
    found: dict[str, str] = {}
    for target in targets:
        key = target
        with suppress(ExportError, ValueError):  # ValueError: a null byte
            path = Path(find(target))
            key = os.path.realpath(path.parent if path.name == CHECKPOINT_FILE else path)
        found.setdefault(key, target)
    return [*found.values()]


def distinct_experiments(targets: Sequence[str], dora_dir: DoraDir) -> list[str]:
    """Return the targets without those that name the same experiment, or the same checkpoint file, again."""
    return distinct(targets, lambda target: find_path(find_source(target, dora_dir), dora_dir))


def find_path(target: str, dora_dir: DoraDir) -> AnyPath:
    """Return a target that is a path, or else the XP folder of a signature.

    Raises:
        ExportError: as `find_experiment`.
    """
    return target if os.path.exists(target) else find_experiment(target, dora_dir).folder


def find_checkpoint(target: str, xp: Experiment, name: Union[str, int, None] = None) -> Path:
    """Return the checkpoint file of a target: the target itself, or a checkpoint of its experiment.

    Args:
        name: epoch or name of the checkpoint, None for `checkpoint.th`.

    Raises:
        ExperimentError: if the checkpoint does not exist, or the target is a file and a name is given as well.
    """
    is_file = os.path.isfile(target)
    if is_file and name is not None:
        raise ExperimentError("conflicting-options", f"{target} is a checkpoint file, and --checkpoint {name} names "
                              "another", "omit --checkpoint, or name the XP folder")
    path = Path(target).absolute() if is_file else xp.checkpoint(name).absolute()
    logger.debug("Checkpoint of %s: %s", target, path)
    return path


def open_target(target: str, dora_dir: DoraDir, name: Union[str, int, None] = None,
                config: Optional[AnyPath] = None) -> tuple[Experiment, Checkpoint]:
    """Open the checkpoint of a target; a checkpoint given by its path may belong to another experiment.

    Raises:
        ExportError: as `find_experiment` and `find_checkpoint`, or if the checkpoint cannot be read.
    """
    from ..checkpoint.checkpoint import open_checkpoint, open_experiment
    target = find_source(target, dora_dir)
    xp = find_experiment(target, dora_dir)
    path = find_checkpoint(target, xp, name)
    is_file = os.path.isfile(target)
    return xp, open_checkpoint(path, config) if is_file else open_experiment(xp, path, config)
