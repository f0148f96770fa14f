"""Find experiments on disk: a Dora folder has a folder `xps/<signature>` with checkpoints for each of them.

Dora finds an experiment by composing its stored overrides with the current configuration, which may have changed since
and lead to another signature. This module uses only the name of the folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Callable, Optional, Union

from ..errors import ExperimentError, alternatives, did_you_mean, listing, permission_hint, reason
from ..options import RELEASE_FOLDER
from ..storage.small_file import read_small_file
from .limits import MAX_FILE_BYTES

AnyPath = Union[str, "os.PathLike[str]"]
CHECKPOINT_FILE = "checkpoint.th"
MANIFEST = "export.json"  # name of the manifest in a release folder
HISTORY = "history.json"
HYDRA_CONFIG = Path(".hydra/config.yaml")
HYDRA_SETTINGS = Path(".hydra/hydra.yaml")
ARGV = ".argv.json"  # written by Dora
XPS = "xps"
GRIDS_FOLDER = "grids"
MAX_OFFERED = 3  # checkpoints that are tried instead of a damaged one
CHECKPOINT_NAME = re.compile(r"checkpoint(?:_(?P<name>.+))?\.th")
# The top-level key of a configuration: parsing the YAML of all experiments would take too long.
# It begins with the line break before the key, because searching for `^` is slow; so does the text.
# The name is in single quotes, in double quotes, or plain.
_SOLVER = re.compile(r"""\nsolver:[ ]*(?:'([^'\n]*)'|"([^"\n]*)"|([^\s'"#][^\n]*?)[ ]*(?:[ ]#|\n|$))""")
_NULL = ("null", "Null", "NULL", "~", "???")  # without quotes; OmegaConf has no value for ???
DORA_SIGNATURE = re.compile(r"[0-9a-f]{8}")
CODE = "code"  # Dora's link to the clone that a training runs in
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
WORKING_DIRECTORY = re.compile(r"^    cwd: ['\"]?([^'\"\n]*)", re.MULTILINE)  # hydra.runtime.cwd


@dataclass(frozen=True)
class Experiment:
    """An XP folder in any state; its files are read on demand.

    Attributes:
        folder: `<dora_dir>/xps/<sig>`, or a copy of such a folder.
        sig: Dora's signature, which the checkpoints must also have; None if unknown.
    """

    folder: Path
    sig: Optional[str]

    @classmethod
    def from_folder(cls, folder: Path) -> Experiment:
        """Return the experiment in a folder; the signature is the folder name, if it looks like one."""
        name = folder.absolute().name
        return cls(folder, name if DORA_SIGNATURE.fullmatch(name) else cls(folder, None).stored_sig)

    @property
    def stored_sig(self) -> Optional[str]:
        """The signature under which Dora stored the experiment, from the folder name; None if unknown.

        The folder must have the `.argv.json` that Dora writes, and lie in `xps` or have a name like a signature.
        """
        folder = Path(os.path.realpath(self.folder))
        is_stored = folder.parent.name == XPS or DORA_SIGNATURE.fullmatch(folder.name)
        return folder.name if is_stored and folder.name.isprintable() and self.argv is not None else None

    @property
    def name_in_xps(self) -> Optional[str]:
        """The name of the folder if it lies in `xps`, after following symlinks; None for a copy elsewhere."""
        folder = Path(os.path.realpath(self.folder))
        return folder.name if folder.parent.name == XPS else None

    @property
    def dora_dir(self) -> Path:
        """The Dora folder; a symlink to the XP folder, such as those in `grids/`, is followed."""
        folder = self.folder.absolute()
        if folder.parent.name != XPS:
            folder = Path(os.path.realpath(folder))
        return folder.parent.parent

    @property
    def argv(self) -> Optional[list[str]]:
        """The overrides that Dora stored; None if they cannot be read."""
        return self._read_list(ARGV)

    def git(self, stored: Optional[int] = None) -> Optional[dict[str, Any]]:
        """Return the commit that a training ran from, if Dora recorded it (`git_save`) for its last run; else None.

        Dora links `code` to a clone named by its commit, and refuses uncommitted changes except in the package of the
        grids. Hydra stores the working directory of the last run, which is in the clone unless the run was started
        without `git_save`. The clone itself is not read: it may have changed since.

        Args:
            stored: mtime of the checkpoint in nanoseconds. If that or the history is older than the last run, the
                model is from an earlier run, perhaps of another commit. None if this process has the model in memory.

        Source: `dora.git_save` (dora-search 0.1.13).
        """
        try:
            commit = os.path.basename(os.readlink(self.folder / CODE))
            is_of_last_run = _runs_in_clone(commit) if stored is None else self._is_of_last_run(stored)
        except (OSError, ValueError):
            return None
        cwd = WORKING_DIRECTORY.search(read_small_text(self.folder / HYDRA_SETTINGS, "replace"))
        is_recorded = is_of_last_run and COMMIT.fullmatch(commit) and cwd and commit in cwd[1].split("/")
        return {"commit": commit, "dirty": False} if is_recorded else None

    def _is_of_last_run(self, stored: int) -> bool:
        """Return whether a checkpoint, by its mtime, and the history were written since the last run began."""
        times = [stored]
        with suppress(FileNotFoundError):
            times.append(os.stat(self.folder / HISTORY).st_mtime_ns)
        return os.stat(self.folder / HYDRA_SETTINGS).st_mtime_ns <= min(times)

    @property
    def solver(self) -> Optional[str]:
        """The name of the solver in `.hydra/config.yaml`; None if it cannot be read."""
        return solver_in(read_small_text(self.folder / HYDRA_CONFIG, "replace"))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The metrics that Dora stored, one entry per epoch; empty if they cannot be read."""
        return self._read_list(HISTORY, dict) or []

    @property
    def is_history_broken(self) -> bool:
        """True if `history.json` exists but cannot be read, or is not a list of epochs."""
        return os.path.lexists(self.folder / HISTORY) and self._read_list(HISTORY, dict) is None

    def _read_list(self, name: str, kind: Optional[type] = None) -> Optional[list[Any]]:
        """Return the items of a JSON file; None unless it is a list, of items of type `kind`."""
        try:
            value = json.loads(read_small_text(os.path.join(self.folder, name)))
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, list) and (kind is None or {*map(type, value)} <= {kind}) else None

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoint files, sorted by name; empty if the folder does not exist.

        Raises:
            ExperimentError: if the folder cannot be read.
        """
        try:
            names = sorted(name for name in os.listdir(self.folder)
                           if CHECKPOINT_NAME.fullmatch(name) and os.path.isfile(self.folder / name))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise ExperimentError("read-failed", f"Cannot read XP folder {self.folder}: {reason(exc)}",
                                  permission_hint(exc)) from exc
        return [self.folder / name for name in names]

    @property
    def latest_checkpoints(self) -> list[Path]:
        """The checkpoint files, the latest state first; empty if the folder cannot be read."""
        with suppress(ExperimentError):
            return sorted(self.checkpoints, key=_training_order)
        return []

    @property
    def has_no_checkpoint(self) -> bool:
        """True if Dora has started the experiment and no checkpoint is stored."""
        stored = os.path.lexists(self.checkpoint_path()) or bool(self.checkpoints)
        return not stored and (self.argv is not None or bool(self.history))

    @property
    def is_untrained(self) -> bool:
        """True if Dora has started the experiment and no epoch is finished; a training may store no checkpoints."""
        return self.has_no_checkpoint and not self.history

    def checkpoint_path(self, name: Union[str, int, None] = None) -> Path:
        """Return the path of `checkpoint.th` or `checkpoint_<name>.th`, whether the file exists or not."""
        return self.folder / checkpoint_name(name)

    def checkpoint(self, name: Union[str, int, None] = None) -> Path:
        """Return the path of an existing checkpoint.

        Raises:
            ExperimentError: if the file does not exist; the hint lists the checkpoints that do.
        """
        path = self.checkpoint_path(name)
        if os.path.isfile(path):  # unlike Path.is_file, this is false for a path that cannot be accessed
            return path
        names = [checkpoint_option(other.name) for other in self.checkpoints]
        named = [name for name in names if name]
        choices = [_option(named[0]) if len(named) == 1 else f"{_option('NAME')} with one of {listing(named)}"
                   ] if named else []
        choices += ["omit the option checkpoint to use checkpoint.th"] if None in names else []
        if choices:
            raise ExperimentError("checkpoint-not-found", f"No {path.name} in {self.folder}", ", or ".join(choices))
        raise self._explain_missing(path)

    def offer_other(self, path: Path, is_valid: Callable[[Path], bool], by_path: bool = False) -> str:
        """Return a hint that offers the latest valid checkpoint other than `path`, or an empty one.

        Args:
            path: the checkpoint that cannot be exported.
            is_valid: returns whether a checkpoint can be exported.
            by_path: name the other checkpoint by its path instead of the option that chooses it.
        """
        others = [other for other in self.latest_checkpoints if other.name != path.name]
        found = next(filter(is_valid, others[:MAX_OFFERED]), None)
        if found is None:
            return ""
        if by_path:
            return f"export {found}"
        name = checkpoint_option(found.name)
        return _option(name) if name else f"omit the option checkpoint to export {found.name}"

    def _explain_missing(self, path: Path) -> ExperimentError:
        """Return the error for a missing checkpoint, with a hint about other files in the folder."""
        folder = self.folder
        is_xps = folder.absolute().name == XPS
        if denied := permission_error(path):
            return ExperimentError("read-failed", f"Cannot read {path}: {reason(denied)}", permission_hint(denied))
        if not os.path.lexists(folder):
            return ExperimentError("experiment-not-found", f"No XP folder {folder}: the experiment was never trained",
                                   "train it first, or correct the overrides")
        if os.path.islink(path):
            return ExperimentError("read-failed", f"{path} is a dangling symlink", "make its target available")
        if os.path.lexists(path):
            return ExperimentError("wrong-target", f"{path} is not a regular file: expected a checkpoint")
        if is_xps or os.path.isdir(folder / XPS):
            home = folder.absolute().parent if is_xps else folder
            names = _list_signatures(home)
            kind = "the xps folder of a Dora folder" if is_xps else "a Dora folder"
            return ExperimentError("wrong-target", f"{folder} is {kind}, not an XP folder",
                                   f"name one of its XPs with --dora-dir {shlex.quote(str(home))}: {listing(names)}"
                                   if names else "")
        if os.path.isfile(folder / MANIFEST):
            return ExperimentError("wrong-target", f"{folder} is a release, not an XP folder",
                                   f"name its XP {folder.parent}" if os.path.isfile(folder.parent / CHECKPOINT_FILE)
                                   else "name the XP that it was exported from")
        if os.path.isfile(folder / RELEASE_FOLDER / MANIFEST):
            return ExperimentError("checkpoint-not-found",
                                   f"No {path.name} in {folder}: it has only a release ({RELEASE_FOLDER})")
        if releases := releases_in(folder):
            return ExperimentError("wrong-target", f"{folder} has releases in its subfolders, but no checkpoint",
                                   f"name one of them: {listing(releases, 3)}")
        hint = ""
        if self.has_no_checkpoint:
            hint = "train the experiment " + ("first" if self.is_untrained else "with checkpoints")
        return ExperimentError("checkpoint-not-found", f"No {path.name} in {folder}: the folder has no checkpoint",
                               hint)


def is_denied(path: AnyPath) -> bool:
    """Return whether permissions do not allow a path to be read; false if it does not exist."""
    try:
        return not os.access(path, os.R_OK) and bool(os.stat(path))
    except (OSError, ValueError) as exc:
        return isinstance(exc, PermissionError)


def releases_in(folder: Path) -> list[str]:
    """Return the subfolders of a folder that have a release."""
    with suppress(OSError):
        return [str(folder / name) for name in sorted(os.listdir(folder)) if os.path.isfile(folder / name / MANIFEST)]
    return []


def permission_error(path: Path) -> Optional[PermissionError]:
    """Return the error if the permissions of a folder above a path deny access to the path, or None."""
    try:
        os.stat(path)
    except PermissionError as exc:
        return exc
    except (OSError, ValueError):
        pass
    return None


def solver_in(config: str) -> Optional[str]:
    """Return the name of the solver in the YAML of a configuration; None without one."""
    found = _SOLVER.search(f"\n{config}")
    return None if found is None or found[3] in _NULL else found[1] or found[2] or found[3]


def checkpoint_name(name: Union[str, int, None]) -> str:
    """Return the file name of a checkpoint: `checkpoint.th`, `checkpoint_<name>.th`, or a name that is one of these."""
    if name is None:
        return CHECKPOINT_FILE
    return name if isinstance(name, str) and CHECKPOINT_NAME.fullmatch(name) else f"checkpoint_{name}.th"


def checkpoint_option(file_name: str) -> Optional[str]:
    """Return the value of the option `checkpoint` that selects a file; None for `checkpoint.th` and other names."""
    found = CHECKPOINT_NAME.fullmatch(file_name)
    return found["name"] if found else None


def _runs_in_clone(commit: str) -> bool:
    """Return whether Dora runs this process in the clone of a commit; a notebook that enters an XP does not."""
    return "_DORA_ORIGINAL_DIR" in os.environ or commit in os.getcwd().split(os.sep)


def _training_order(path: Path) -> tuple[bool, int]:
    """Return a sort key: first `checkpoint.th`, the latest state, then epochs in descending order, then other names."""
    name = checkpoint_option(path.name) or ""
    return bool(name), -int(name) if name.isdecimal() else 0


def _option(name: str) -> str:
    return f"use checkpoint={name} (--checkpoint {name})"


def find_xp(sig: str, dora_dir: AnyPath) -> Experiment:
    """Find an experiment by its Dora signature, or by an unambiguous prefix of one.

    Raises:
        ExperimentError: if no experiment matches (the hint offers similar signatures), or more than one does.
    """
    xps = Path(dora_dir) / XPS
    if sig not in ("", "..") and Path(sig).name == sig and os.path.isdir(xps / sig):
        return Experiment(xps / sig, sig)
    found = _list_signatures(dora_dir, sig) if sig else []
    if len(found) == 1:
        return Experiment(xps / found[0], found[0])
    if found:
        raise ExperimentError("ambiguous-signature", f"{sig!r} matches {len(found)} experiments in {xps}: "
                              f"{listing(found)}", "give more characters of the signature")
    if denied := permission_error(xps / sig):
        raise ExperimentError("read-failed", f"Cannot read {xps / sig}: {reason(denied)}", permission_hint(denied))
    names = _list_signatures(dora_dir)
    if not names:
        raise ExperimentError("experiment-not-found", f"No XP {sig!r} in {xps}: the folder has no experiments")
    similar = get_close_matches(sig, names, n=3, cutoff=0.6) or _find_similar_prefixes(sig, names)
    raise ExperimentError("experiment-not-found", f"No XP {sig!r} in {xps}",
                          f"did you mean {alternatives(similar)}?" if similar else f"choose one of {listing(names)}")


def list_xps(dora_dir: AnyPath) -> list[Experiment]:
    """Return all experiments of a Dora folder, sorted by signature.

    Raises:
        ExperimentError: if the folder is not a Dora folder, or cannot be read.
    """
    return list(each_xp(dora_dir))


def each_xp(dora_dir: AnyPath) -> Iterator[Experiment]:
    """Yield all experiments of a Dora folder one by one, sorted by signature.

    Raises:
        ExperimentError: as `list_xps`; raised by the call, before the first experiment.
    """
    xps = Path(dora_dir) / XPS
    return (Experiment(xps / name, name) for name in _list_signatures(dora_dir))


def list_grids(dora_dir: AnyPath) -> list[str]:
    """Return the names of the grids that were run in a Dora folder, sorted.

    Raises:
        ExperimentError: if the permissions of the folder `grids` do not allow it to be read.
    """
    return _list_folder(Path(dora_dir) / GRIDS_FOLDER)


def grid_xps(name: str, dora_dir: AnyPath) -> list[Experiment]:
    """Return the experiments that the last `dora grid` linked in `<dora_dir>/grids/<name>`.

    Raises:
        ExperimentError: if the grid does not exist, has no experiments, or cannot be read.
    """
    grids, names = Path(dora_dir) / GRIDS_FOLDER, list_grids(dora_dir)
    if name in names:
        sigs = [sig for sig in _list_folder(grids / name) if os.path.islink(grids / name / sig)]
        if not sigs:
            raise ExperimentError("grid-not-found", f"Grid {name!r} in {grids} has no experiments",
                                  f"run dora grid {name} again")
        return [Experiment(Path(dora_dir) / XPS / sig, sig) for sig in sigs]
    if not names:
        raise ExperimentError("grid-not-found", f"No grid {name!r} in {grids}: dora grid was never run in this folder")
    raise ExperimentError("grid-not-found", f"No grid {name!r} in {grids}", did_you_mean(name, names))


def read_small_text(path: AnyPath, errors: str = "strict") -> str:
    """Return the text of a small file, such as `history.json`; empty if it is too large or unreadable."""
    try:
        text = read_small_file(path, MAX_FILE_BYTES).decode("utf-8", errors)
    except (OSError, ValueError):
        return ""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _list_signatures(dora_dir: AnyPath, prefix: str = "") -> list[str]:
    """Return the names of the folders in `xps` that start with a prefix, sorted."""
    home = Path(dora_dir).absolute()
    try:
        if prefix:  # `listdir` takes half the time of `scandir`, and leaves few names to examine
            names = [name for name in os.listdir(Path(dora_dir) / XPS) if name.startswith(prefix)]
            return sorted(name for name in names
                          if not name.startswith(".") and os.path.isdir(Path(dora_dir) / XPS / name))
        with os.scandir(Path(dora_dir) / XPS) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    except (OSError, ValueError) as exc:
        xps, why = Path(dora_dir) / XPS, reason(exc)
        if isinstance(exc, PermissionError):
            raise ExperimentError("read-failed", f"Cannot read {xps}: {why}", permission_hint(exc)) from exc
        hint = "name the Dora folder with --dora-dir, or the training package with -P"
        near = next((folder.parent for folder in (home, home.parent) if folder.name == XPS and home.is_dir()), None)
        if near is not None:
            hint = f"did you mean --dora-dir {shlex.quote(str(near))}?"
        raise ExperimentError("dora-folder-not-found", f"{dora_dir} is not a Dora folder: cannot read {xps} ({why})",
                              hint) from exc


def _list_folder(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; empty if the folder does not exist."""
    try:
        return sorted(os.listdir(folder))
    except PermissionError as exc:
        raise ExperimentError("read-failed", f"Cannot read {folder}: {reason(exc)}", permission_hint(exc)) from exc
    except OSError:
        return []


def _find_similar_prefixes(sig: str, names: Sequence[str]) -> list[str]:
    """Return signatures that begin similarly; empty for one or two characters, which resemble any signature."""
    by_prefix = {name[:len(sig)]: name for name in names} if len(sig) > 2 else {}
    return [by_prefix[prefix] for prefix in get_close_matches(sig, by_prefix, n=3, cutoff=0.6)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a symlink to one; only a symlink costs a system call."""
    return entry.is_dir(follow_symlinks=False) or entry.is_symlink() and os.path.isdir(entry)
