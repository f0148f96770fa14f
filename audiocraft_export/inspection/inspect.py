"""Summarize a target: an experiment, a checkpoint, a release or a file of one, for Python."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

from ..errors import ExperimentError
from ..experiment.dora_dir import codec_dora_dir, resolve_dora_dir
from ..experiment.xp import AnyPath, Experiment, find_xp
from ..verification.weights import read_weights
from .file_summary import RELEASE, FileSummary
from .inspect_file import inspect_experiment, inspect_file, lacks_checkpoint, release_files, with_digest


def inspect(target: AnyPath, dora_dir: Optional[AnyPath] = None, *, checkpoint: Union[str, int, None] = None,
            metric: Optional[str] = None, values: bool = False, digest: bool = False) -> FileSummary:
    """Summarize an experiment, a checkpoint, a release or a file of a release, without loading its tensors.

    Args:
        target: a signature or a prefix of one, or the path of an XP folder, a checkpoint, a release folder or a file.
        dora_dir: the Dora folder, for a signature and for compression models `//sig/`; None finds it as the command
            does.
        checkpoint: the epoch or name of a checkpoint of the experiment; None is `checkpoint.th`.
        metric: the metric that selects the best state, as the option `metric`.
        values: whether to read all weights, to find NaN, infinite and corrupted values.
        digest: whether to read the released weights, for the content digest.

    Raises:
        ExportError: if the target does not exist or cannot be read, or if `checkpoint` is given and the target is a
            file or a release.
    """
    path = Path(target)
    files = release_files(path)
    if checkpoint is not None and (files or os.path.isfile(path)):
        raise ExperimentError("conflicting-options", f"{target} is a {'release' if files else 'checkpoint file'}, and "
                              f"checkpoint={checkpoint} is the name of a checkpoint",
                              "omit checkpoint, or name the XP folder")
    if files:
        summary = _merge(path, [inspect_file(file, values=values) for file in files])
        return with_digest(summary, read_weights(path)) if digest else summary
    xp = _find(target, dora_dir)
    if checkpoint is None and not os.path.isfile(path) and lacks_checkpoint(xp):
        return inspect_experiment(xp, metric, digest=digest)
    file = path if os.path.isfile(path) else xp.checkpoint(checkpoint)
    return inspect_file(file, xp, codec_dora_dir(xp, dora_dir), values, metric, by_name=file != path, digest=digest)


def _find(target: AnyPath, dora_dir: Optional[AnyPath]) -> Experiment:
    """Return the experiment of a signature, or of the folder of a path."""
    path, name = Path(target), os.fspath(target)
    if os.path.lexists(path):
        return Experiment.from_folder((path.parent if os.path.isfile(path) else path).absolute())
    if os.path.basename(name) != name or path.suffix:
        raise ExperimentError("path-not-found", f"No such file or folder: {name!r}",
                              "give a signature, or the path of an XP folder, a checkpoint or a release")
    return find_xp(name, resolve_dora_dir(dora_dir))


def _merge(path: Path, parts: Sequence[FileSummary]) -> FileSummary:
    """Join the summaries of the files of a release; the facts are those of the first one, the main model."""
    if len(parts) == 1:
        return parts[0]
    nonfinite = [part.nonfinite for part in parts]
    return replace(
        parts[0], kind=RELEASE, path=path, nbytes=sum(part.nbytes for part in parts),
        sections={part.path.name: part.nbytes for part in parts},
        tensors={f"{part.path.name}: {name}": tensor for part in parts for name, tensor in part.tensors.items()},
        warnings=[*dict.fromkeys(warning for part in parts for warning in part.warnings)],
        nonfinite=None if None in nonfinite else sum(filter(None, nonfinite)))
