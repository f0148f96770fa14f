"""An experiment at a glance: what Dora's files and the manifest say of it; no checkpoint is opened."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ..experiment.xp import CHECKPOINT_FILE, CHECKPOINT_NAME, HYDRA_CONFIG, MANIFEST, Experiment, read_small_text
from ..options import RELEASE_FOLDER
from ..release.families.registry import family_named
from ..release.manifest import Manifest
from ..release.metrics import best_epoch
from ..storage.file_version import same_mtime

# Parsing the YAML of one configuration takes as long as all else of twenty experiments.
_SOLVER = re.compile(r"^solver:[ ]*['\"]?([^\s'\"#]+)", re.MULTILINE)
_PLANNED = re.compile(r"^(?:optim:[ ]*\n(?=([ ]+))(?:[ ]+\S.*\n)*?\1)?epochs:[ ]*(\d{1,12})[ ]*$", re.MULTILINE)


@dataclass(frozen=True)
class XPSummary:
    """What is known of an experiment without opening its checkpoint.

    Args:
        sig: the name of its folder: Dora's signature.
        solver: that of its configuration, if Hydra has stored one.
        argv: its command line; None where Dora has stored none.
        epochs: how many are done.
        planned: how many there are to be, if the configuration says so.
        metric: the validation metric by which the best epoch is chosen.
        best: its best value.
        best_epoch: the epoch that has it.
        checkpoint: size of `checkpoint.th` in bytes; None where there is none.
        others: how many other checkpoints there are.
        release: `none`, `fresh`, `stale` (the checkpoint is newer) or `damaged`.
        release_bytes: size of the files of the release, as the manifest has it.
        changed: when its training last stored something, in seconds since 1970.
    """

    sig: str
    solver: Optional[str]
    argv: Optional[list[str]]
    epochs: int
    planned: Optional[int]
    metric: Optional[str]
    best: Optional[float]
    best_epoch: Optional[int]
    checkpoint: Optional[int]
    others: int
    release: str
    release_bytes: Optional[int]
    changed: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def survey(xp: Experiment) -> XPSummary:
    """Look at an experiment, whatever state it is in: what cannot be read is as if it were not there."""
    config = read_small_text(xp.folder / HYDRA_CONFIG, "replace")
    solver, planned = _SOLVER.search(config), _PLANNED.search(config)
    name = solver.group(1) if solver else None
    argv, history = xp.argv, xp.history
    best = best_epoch(history, family_named(name).metrics) or {}
    metric = best.get("metric")
    files = _checkpoints(xp.folder)
    release, release_bytes = release_status(xp.folder / RELEASE_FOLDER, xp.folder)
    return XPSummary(
        sig=xp.sig or xp.folder.name, solver=name, argv=None if argv is None else [*map(str, argv)],
        epochs=len(history), planned=int(planned.group(2)) if planned else None,
        metric=metric, best=best["valid"][metric] if metric else None, best_epoch=best["epoch"] if metric else None,
        checkpoint=files[CHECKPOINT_FILE].st_size if CHECKPOINT_FILE in files else None, others=len(files) - (CHECKPOINT_FILE in files),
        release=release, release_bytes=release_bytes,
        changed=max((file.st_mtime for file in files.values()), default=0.) or _changed(xp.folder))


def release_status(folder: Path, xp_folder: Path, name: Optional[str] = None) -> tuple[str, Optional[int]]:
    """The state of a release folder, by sizes and times alone, and the size of its files.

    Args:
        folder: the release folder.
        xp_folder: where the checkpoint that it was made of lies, if it is still there.
        name: of that checkpoint, if only this one counts: a release of another is as good as stale.
    """
    if not os.path.lexists(folder / MANIFEST):
        return "none", None
    manifest = Manifest.load_or_none(folder)
    if manifest is None:
        return "damaged", None
    nbytes = sum(file.bytes for file in manifest.files)
    if not manifest.is_complete(folder):
        return "damaged", nbytes
    other = name is not None and (manifest.checkpoint or {}).get("name") != name
    return "stale" if other or _is_stale(manifest, xp_folder) else "fresh", nbytes


def short_names(argvs: Sequence[Sequence[str]]) -> list[str]:
    """What distinguishes command lines: without the overrides that all have, the rarest first, in case it is cut.

    Keys are as short as they are unique, as Dora names the experiments of a grid (`dora.names.NamesMixin.get_names`).

    Args:
        argvs: the command lines; empty ones distinguish nothing.
    """
    counts, lines = Counter(arg for argv in argvs for arg in {*argv}), sum(map(bool, argvs))
    common = {arg for arg, count in counts.items() if count == lines > 1}
    keys = {_key(arg) for arg in counts}
    last = Counter(key.rpartition(".")[2] for key in keys)

    def short(arg: str) -> str:
        key, equal, value = arg.partition("=")
        end = key.rpartition(".")[2]
        return f"{end if last[end.lstrip('+~')] == 1 else key}{equal}{value}"
    return [" ".join(short(arg) for arg in sorted(argv, key=lambda arg: counts[arg]) if arg not in common)
            for argv in argvs]


def _key(arg: str) -> str:
    return arg.partition("=")[0].lstrip("+~")


def _is_stale(manifest: Manifest, xp_folder: Path) -> bool:
    """Whether the checkpoint was written again since; one that is gone, or a copy that lost its age, was not."""
    made_of: Any = manifest.checkpoint or {}
    try:
        now = os.stat(xp_folder / str(made_of["name"]))
        then = made_of["mtime_ns"]
        return bool(now.st_size != made_of["bytes"]
                    or now.st_mtime_ns > then and not same_mtime(now.st_mtime_ns, then))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _checkpoints(folder: Path) -> dict[str, os.stat_result]:
    found = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if CHECKPOINT_NAME.fullmatch(entry.name):
                with suppress(OSError):
                    if entry.is_file():
                        found[entry.name] = entry.stat()
    return found


def _changed(folder: Path) -> float:
    try:
        return os.stat(folder).st_mtime
    except OSError:
        return 0.
