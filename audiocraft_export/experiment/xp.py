"""Experiments on disk: a Dora folder holds `xps/<signature>`, each with its own checkpoints.

Dora's own way from a signature back to an experiment composes the stored `argv` again with the
configuration of today, and so may find another experiment; here only the folder counts.
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

AnyPath = Union[str, "os.PathLike[str]"]
CHECKPOINT_FILE = "checkpoint.th"
MANIFEST = "export.json"  # of a release
HYDRA_CONFIG = Path(".hydra/config.yaml")
GRIDS_FOLDER = "grids"
CHECKPOINT_NAME = re.compile(r"checkpoint(?:_(?P<name>.+))?\.th")
MOST_TEXT = 1 << 26  # bytes of a file of Dora
SIGNATURE = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Experiment:
    """An XP folder, whatever state it is in; nothing is read before it is asked for.

    Args:
        folder: the XP folder, `<dora_dir>/xps/<sig>` or a copy of one.
        sig: Dora's signature, which the checkpoints must have too; None if it is not known.
    """

    folder: Path
    sig: Optional[str]

    @classmethod
    def from_folder(cls, folder: Path) -> Experiment:
        """The XP folder at a path; one with another name (a copy) has no signature to hold it to."""
        name = folder.absolute().name
        return cls(folder, name if SIGNATURE.fullmatch(name) else None)

    @property
    def dora_dir(self) -> Path:
        """The Dora folder that it is in, also if it was reached by a link to it."""
        folder = self.folder.absolute()
        return (folder if folder.parent.name == "xps" else Path(os.path.realpath(folder))).parent.parent

    @property
    def argv(self) -> Optional[list[str]]:
        """The command line stored by Dora, or None."""
        argv = _read_json(self.folder / ".argv.json")
        return argv if isinstance(argv, list) else None

    @property
    def history(self) -> list[dict[str, Any]]:
        """The metrics stored by Dora, one entry an epoch; empty if there are none to read."""
        history = _read_json(self.folder / "history.json")
        return history if isinstance(history, list) else []

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoint files, sorted by name; none where there is no folder.

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
        """Whether Dora knows of it, and it has stored no checkpoint."""
        stored = os.path.lexists(self.checkpoint_path()) or bool(self.checkpoints)
        return not stored and (self.argv is not None or bool(self.history))

    def checkpoint_path(self, name: Union[str, int, None] = None) -> Path:
        """Where `checkpoint.th` or `checkpoint_<name>.th` lies, if it is there."""
        return self.folder / (CHECKPOINT_FILE if name is None else f"checkpoint_{name}.th")

    def checkpoint(self, name: Union[str, int, None] = None) -> Path:
        """The path of `checkpoint.th`, or of `checkpoint_<name>.th`.

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
        remedy = f"{', or '.join(choices)}." if choices else self._why_there_is_none(path)
        raise ExperimentError(f"No {path.name} in {self.folder}; {remedy}")

    def _why_there_is_none(self, path: Path) -> str:
        if os.path.lexists(path):
            return "what has this name is no file, or a link to nothing: mount what it leads to, or restore it."
        if os.path.isdir(self.folder / "xps"):
            return "this is a Dora folder: name one of its XPs."
        if os.path.isfile(self.folder / MANIFEST):
            return "this is a release: name its XP, or its checkpoint."
        return "this folder has no checkpoint at all: train it first."


def find_xp(sig: str, dora_dir: AnyPath) -> Experiment:
    """Find an experiment by its Dora signature or a prefix that only one experiment has.

    Args:
        sig: the signature, or the prefix.
        dora_dir: the Dora folder, which holds `xps/`.

    Raises:
        ExperimentError: if there is none (near ones are offered) or more than one.
    """
    xps = Path(dora_dir) / "xps"
    if _is_file_name(sig) and os.path.isdir(xps / sig):
        return Experiment(xps / sig, sig)
    names = _xp_names(dora_dir)
    found = [name for name in names if sig and name.startswith(sig)]
    if len(found) == 1:
        return Experiment(xps / found[0], found[0])
    if found:
        raise ExperimentError(f"{sig} is the start of {len(found)} experiments in {xps}: "
                              f"{listing(found)}; give more of the signature.")
    near = get_close_matches(sig, names, n=3, cutoff=0.6) or _close_prefixes(sig, names)
    remedy = f"did you mean {' or '.join(near)}?" if near else \
        f"it holds {listing(names)}." if names else "it holds no experiment."
    raise ExperimentError(f"No XP {sig!r} in {xps}; {remedy}")


def list_xps(dora_dir: AnyPath) -> list[Experiment]:
    """All experiments of a Dora folder, sorted by signature.

    Raises:
        ExperimentError: if this is no Dora folder.
    """
    return [*each_xp(dora_dir)]


def each_xp(dora_dir: AnyPath) -> Iterator[Experiment]:
    """As `list_xps`, one after the other: of many, only their names are kept.

    Raises:
        ExperimentError: if this is no Dora folder.
    """
    return (Experiment(Path(dora_dir) / "xps" / name, name) for name in _xp_names(dora_dir))


def list_grids(dora_dir: AnyPath) -> list[str]:
    """The names of the grids that were run in a Dora folder, sorted."""
    return _list_folder(Path(dora_dir) / GRIDS_FOLDER)


def grid_xps(name: str, dora_dir: AnyPath) -> list[Experiment]:
    """The experiments of a grid, as the last `dora grid` left them: links in `<dora_dir>/grids/<name>`.

    Args:
        name: of the grid.
        dora_dir: the Dora folder.

    Raises:
        ExperimentError: if it has no such grid.
    """
    grids, others = Path(dora_dir) / GRIDS_FOLDER, list_grids(dora_dir)
    sigs = [sig for sig in _list_folder(grids / name) if os.path.islink(grids / name / sig)] if name in others else []
    if not sigs:
        near = get_close_matches(name, others, n=3) or others
        remedy = f"the last dora grid {name} left none: run it again." if name in others else \
            f"did you mean {' or '.join(near[:3])}?" if near else "dora grid was never run there."
        raise ExperimentError(f"No experiments of a grid {name!r} in {grids}; {remedy}")
    return [Experiment(Path(dora_dir) / "xps" / sig, sig) for sig in sigs]


def _xp_names(dora_dir: AnyPath) -> list[str]:
    xps = Path(dora_dir) / "xps"
    try:
        with os.scandir(xps) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    except (OSError, ValueError) as exc:
        inside = Path(dora_dir).absolute().name == "xps"
        right = f"{Path(dora_dir).absolute().parent}, in which it lies" if inside else "the right one"
        raise ExperimentError(f"{dora_dir} is no Dora folder: {xps} cannot be read ({reason(exc)}); "
                              f"name {right} with --dora-dir, or the training package with -P.") from exc


def _close_prefixes(sig: str, names: Sequence[str]) -> list[str]:
    """The names that begin nearly like it."""
    starts: dict[str, str] = {name[:len(sig)]: name for name in names}
    return [starts[start] for start in get_close_matches(sig, starts, n=3, cutoff=0.6)] if len(sig) > 2 else []


def _list_folder(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; asks the system only about links."""
    return entry.is_dir(follow_symlinks=False) or entry.is_symlink() and os.path.isdir(entry)


def read_small_text(path: Path, errors: str = "strict") -> str:
    """The text of a file of Dora or Hydra; empty if there is none to read.

    Args:
        path: of the file.
        errors: what becomes of bytes that are no UTF-8, as `open` takes it.
    """
    try:
        readable = os.path.isfile(path) and os.path.getsize(path) <= MOST_TEXT
        return path.read_text("utf-8", errors) if readable else ""
    except (OSError, ValueError):
        return ""


def _is_file_name(text: str) -> bool:
    return bool(text) and "\0" not in text and text not in (".", "..") and Path(text).name == text


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_small_text(path))
    except (ValueError, RecursionError):
        return None
