"""Load the models of a release with AudioCraft's own loaders, and compare their weights."""

from collections.abc import Sequence
from functools import partial, reduce
from importlib import import_module
from operator import getitem
from pathlib import Path
from traceback import extract_tb
from typing import Any, Callable

from ... import progress
from ...errors import ReleaseError, describe_exception
from ...release.families.registry import Family, Loaded
from ...release.installed_audiocraft import audiocraft_version

SKIP = "skip this check (verify=bytes, or omit --load)"  # a hint


def loader_for(family: Family) -> Callable[[Path, Sequence[str]], Loaded]:
    """Return the function that loads the models of a family from a release folder and file names.

    This imports AudioCraft, which takes about 5 s.

    Raises:
        ReleaseError: if AudioCraft cannot be imported, or has no loader for the family.
    """
    if family.load is None:
        raise ReleaseError("loader-missing", "AudioCraft has no loader for this model", SKIP)
    return partial(family.load, import_audiocraft("models.loaders"))


def import_audiocraft(module: str) -> Any:
    """Import a module of AudioCraft by its name in the package.

    Raises:
        ReleaseError: if the import fails.
    """
    try:
        with progress.phase("loading AudioCraft"):
            return import_module(f"audiocraft.{module}")
    except ImportError as exc:
        raise ReleaseError("loader-missing", f"AudioCraft is needed to load the model and cannot be imported: {exc}",
                           f"install AudioCraft, or {SKIP}") from exc


def verify_with_audiocraft(folder: Path, family: Family, names: Sequence[str]) -> None:
    """Load the models of a release folder with AudioCraft's own loaders and compare their weights.

    Args:
        folder: the release folder.
        family: the family of models that the release belongs to.
        names: names of the files of the models.

    Raises:
        ReleaseError: if AudioCraft cannot load a model, or its weights differ from the file.
    """
    load = loader_for(family)
    import torch
    try:
        with torch.random.fork_rng(devices=[]):  # keeps the random state of a training
            loaded = list(load(folder, names))
    except ReleaseError:
        raise
    except Exception as exc:  # AudioCraft raises many types of exceptions
        raise ReleaseError("load-failed", f"AudioCraft cannot load this release: {_reason(exc)}",
                           f"use the version of AudioCraft that trained the model, or {SKIP}") from exc
    for module, file, keys in loaded:
        state = reduce(getitem, keys, torch.load(folder / file, "cpu", weights_only=True))
        for name, tensor in module.state_dict().items():
            if name not in state or not torch.equal(state[name].to(tensor.dtype), tensor):
                raise ReleaseError("load-mismatch", f"{name} of {file} differs after AudioCraft has loaded the model",
                                   "do not use this release, or try the version of AudioCraft that trained the model")


def _reason(exc: Exception) -> str:
    """Return the message of an exception of AudioCraft in one line, or where it was raised if it has no message."""
    if isinstance(exc, AttributeError) and "audiocraft.models.loaders" in str(exc):
        return f"AudioCraft {audiocraft_version()} has no loader for this kind of model: {exc}"
    frame = extract_tb(exc.__traceback__)[-1]
    return describe_exception(exc, f"{frame.line} in {frame.filename}, line {frame.lineno}")
