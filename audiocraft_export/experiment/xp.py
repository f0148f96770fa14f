"""Experiments on disk: a Dora folder has `xps/<signature>`, each with its own checkpoints.

To find an experiment, Dora composes its stored `argv` with today's configuration, and so may find another one; here
only the folder counts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Optional, Union

from ..errors import ExperimentError, listing, reason
from ..options import RELEASE_FOLDER
from .limits import MAX_FILE_BYTES

AnyPath = Union[str, "os.PathLike[str]"]
CHECKPOINT_FILE = "checkpoint.th"
MANIFEST = "export.json"  # of a release
HISTORY = "history.json"
HYDRA_CONFIG = Path(".hydra/config.yaml")
HYDRA_SETTINGS = Path(".hydra/hydra.yaml")
ARGV = ".argv.json"  # of Dora
XPS = "xps"
GRIDS_FOLDER = "grids"
CHECKPOINT_NAME = re.compile(r"checkpoint(?:_(?P<name>.+))?\.th")
SIGNATURE = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Experiment:
    """An XP folder in any state; its files are read when they are asked for."""

    folder: Path  # `<dora_dir>/xps/<sig>` or a copy of one
    sig: Optional[str]  # Dora's signature, which the checkpoints must have too; None if it is unknown

    @classmethod
    def from_folder(cls, folder: Path) -> Experiment:
        """The experiment in a folder; the signature is unknown unless it is the name of the folder."""
        name = folder.absolute().name
        return cls(folder, name if SIGNATURE.fullmatch(name) else cls(folder, None).stored_sig)

    @property
    def stored_sig(self) -> Optional[str]:
        """The signature by which Dora has stored it: the name of a folder in `xps`, or one like a signature.

        None without the `.argv.json` that Dora writes there, and for a copy with another name.
        """
        folder = Path(os.path.realpath(self.folder))
        is_stored = folder.parent.name == XPS or SIGNATURE.fullmatch(folder.name)
        return folder.name if is_stored and folder.name.isprintable() and self.argv is not None else None

    @property
    def dora_dir(self) -> Path:
        """The Dora folder; a link to the XP folder, such as one in `grids/`, is followed."""
        folder = self.folder.absolute()
        if folder.parent.name != XPS:
            folder = Path(os.path.realpath(folder))
        return folder.parent.parent

    @property
    def argv(self) -> Optional[list[str]]:
        """The overrides stored by Dora; None if they cannot be read."""
        return self._read_list(ARGV)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The metrics stored by Dora, one entry an epoch; empty if they cannot be read."""
        return self._read_list(HISTORY, dict) or []

    @property
    def is_history_broken(self) -> bool:
        """Whether there is a history.json that holds no list of epochs, or cannot be read."""
        return os.path.lexists(self.folder / HISTORY) and self._read_list(HISTORY, dict) is None

    def _read_list(self, name: str, kind: type = object) -> Optional[list[Any]]:
        try:
            value = json.loads(read_small_text(self.folder / name))
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, list) and all(isinstance(item, kind) for item in value) else None

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoint files, sorted by name; empty if there is no folder.

        Raises:
            ExperimentError: if the folder cannot be read.
        """
        try:
            names = sorted(name for name in os.listdir(self.folder)
                           if CHECKPOINT_NAME.fullmatch(name) and os.path.isfile(self.folder / name))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise ExperimentError(f"The XP folder {self.folder} cannot be read ({reason(exc)}): check its "
                                  "permissions.") from exc
        return [self.folder / name for name in names]

    @property
    def is_untrained(self) -> bool:
        """Whether Dora has started it and it has stored no checkpoint."""
        stored = os.path.lexists(self.checkpoint_path()) or bool(self.checkpoints)
        return not stored and (self.argv is not None or bool(self.history))

    def checkpoint_path(self, name: Union[str, int, None] = None) -> Path:
        """The path of `checkpoint.th` or `checkpoint_<name>.th`, whether it exists or not."""
        return self.folder / (CHECKPOINT_FILE if name is None else f"checkpoint_{name}.th")

    def checkpoint(self, name: Union[str, int, None] = None) -> Path:
        """The path of an existing checkpoint.

        Raises:
            ExperimentError: if there is no such file; the message lists those that exist.
        """
        path = self.checkpoint_path(name)
        if os.path.isfile(path):  # unlike Path.is_file, false for any path that cannot be seen
            return path
        names = [other.stem.partition("_")[2] for other in self.checkpoints]
        named = ", ".join(filter(None, names))
        choices = [f"choose one of these with the option checkpoint: {named}"] if named else []
        choices += ["leave that option out for checkpoint.th"] if "" in names else []
        hint = f"{', or '.join(choices)}." if choices else self._explain_missing(path)
        raise ExperimentError(f"No {path.name} in {self.folder}; {hint}")

    def _explain_missing(self, path: Path) -> str:
        if os.path.lexists(path):
            return "what has this name is no file, or a link to nothing: mount what it leads to, or restore it."
        if os.path.isdir(self.folder / XPS):
            return "this is a Dora folder: name one of its XPs."
        if os.path.isfile(self.folder / MANIFEST):
            return "this is a release: name its XP, or its checkpoint."
        if os.path.isfile(self.folder / RELEASE_FOLDER / MANIFEST):
            return f"this folder has no checkpoint, only its release {self.folder / RELEASE_FOLDER}."
        return "this folder has no checkpoint at all: train it first."


def find_xp(sig: str, dora_dir: AnyPath) -> Experiment:
    """Find an experiment by its Dora signature, or by a prefix that only one experiment has.

    Raises:
        ExperimentError: if none matches (similar ones are offered), or more than one.
    """
    xps = Path(dora_dir) / XPS
    if sig not in ("", "..") and Path(sig).name == sig and os.path.isdir(xps / sig):
        return Experiment(xps / sig, sig)
    names = _list_signatures(dora_dir)
    found = [name for name in names if sig and name.startswith(sig)]
    if len(found) == 1:
        return Experiment(xps / found[0], found[0])
    if found:
        raise ExperimentError(f"{sig} is the start of {len(found)} experiments in {xps}: "
                              f"{listing(found)}; give more of the signature.")
    if similar := get_close_matches(sig, names, n=3, cutoff=0.6) or _find_similar_prefixes(sig, names):
        hint = f"did you mean {' or '.join(similar)}?"
    else:
        hint = f"it holds {listing(names) or 'no experiment'}."
    raise ExperimentError(f"No XP {sig!r} in {xps}; {hint}")


def list_xps(dora_dir: AnyPath) -> list[Experiment]:
    """All experiments of a Dora folder, sorted by signature.

    Raises:
        ExperimentError: if this is not a Dora folder.
    """
    return list(each_xp(dora_dir))


def each_xp(dora_dir: AnyPath) -> Iterator[Experiment]:
    """As `list_xps`, one after the other, so that only names take memory."""
    return (Experiment(Path(dora_dir) / XPS / name, name) for name in _list_signatures(dora_dir))


def list_grids(dora_dir: AnyPath) -> list[str]:
    """The names of the grids that were run in a Dora folder, sorted."""
    return _list_folder(Path(dora_dir) / GRIDS_FOLDER)


def grid_xps(name: str, dora_dir: AnyPath) -> list[Experiment]:
    """The experiments of a grid, as the last `dora grid` left them: links in `<dora_dir>/grids/<name>`.

    Raises:
        ExperimentError: if there is no such grid, or nothing in it.
    """
    grids, names = Path(dora_dir) / GRIDS_FOLDER, list_grids(dora_dir)
    if name in names:
        sigs = [sig for sig in _list_folder(grids / name) if os.path.islink(grids / name / sig)]
        hint = f"the last dora grid {name} left none: run it again."
    else:
        similar = get_close_matches(name, names, n=3) or names[:3]
        sigs, hint = [], f"did you mean {' or '.join(similar)}?" if similar else "dora grid was never run there."
    if not sigs:
        raise ExperimentError(f"No experiments of a grid {name!r} in {grids}; {hint}")
    return [Experiment(Path(dora_dir) / XPS / sig, sig) for sig in sigs]


def read_small_text(path: Path, errors: str = "strict") -> str:
    """Read a file of Dora or Hydra; empty if it cannot be read or is too large."""
    try:
        readable = os.path.isfile(path) and os.path.getsize(path) <= MAX_FILE_BYTES
        return path.read_text("utf-8", errors) if readable else ""
    except (OSError, ValueError):
        return ""


def _list_signatures(dora_dir: AnyPath) -> list[str]:
    home = Path(dora_dir).absolute()
    try:
        with os.scandir(Path(dora_dir) / XPS) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    except (OSError, ValueError) as exc:
        right = f"{home.parent}, in which it lies" if home.name == XPS else "the right one"
        raise ExperimentError(f"{dora_dir} is no Dora folder: {Path(dora_dir) / 'xps'} cannot be read ({reason(exc)}); "
                              f"name {right} with --dora-dir, or the training package with -P.") from exc


def _list_folder(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _find_similar_prefixes(sig: str, names: Sequence[str]) -> list[str]:
    """The names that begin similarly; a prefix of one or two characters is similar to anything."""
    by_prefix = {name[:len(sig)]: name for name in names} if len(sig) > 2 else {}
    return [by_prefix[prefix] for prefix in get_close_matches(sig, by_prefix, n=3, cutoff=0.6)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; only a link costs a system call."""
    return entry.is_dir(follow_symlinks=False) or entry.is_symlink() and os.path.isdir(entry)
