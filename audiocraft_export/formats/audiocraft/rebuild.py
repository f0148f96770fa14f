"""Rebuild the models of a release with AudioCraft's own loaders."""

from collections.abc import Sequence
from functools import partial, reduce
from importlib import import_module
from operator import getitem
from pathlib import Path
from traceback import extract_tb
from typing import Any, Callable

from ... import progress
from ...errors import ReleaseError
from ...release.families.registry import Family, Loaded
from ...release.installed_audiocraft import audiocraft_version


def loader_for(family: Family) -> Callable[[Path, Sequence[str]], Loaded]:
    """The function that rebuilds the models of a family from a release folder and file names; importing takes 5 s.

    Raises:
        ReleaseError: if AudioCraft cannot be imported, or has no loader for the family.
    """
    if family.load is None:
        raise ReleaseError("AudioCraft's loaders rebuild its own models, and this is none of them: verify it without "
                           "(verify=bytes, or no --load).")
    return partial(family.load, import_audiocraft("models.loaders"))


def import_audiocraft(module: str) -> Any:
    """Import a module of AudioCraft by its name in the package; ReleaseError if that fails."""
    try:
        with progress.phase("loading AudioCraft"):
            return import_module(f"audiocraft.{module}")
    except ImportError as exc:
        raise ReleaseError(f"verify=load needs AudioCraft, which cannot be imported here ({exc}): install it, or use "
                           "verify=bytes.") from exc


def verify_with_audiocraft(folder: Path, family: Family, names: Sequence[str]) -> None:
    """Rebuild the models in a release folder with AudioCraft's own loaders and compare their weights.

    Raises:
        ReleaseError: if AudioCraft cannot rebuild one (with its reason), or the weights differ.
    """
    load = loader_for(family)
    import torch
    try:
        with torch.random.fork_rng(devices=[]):  # a training may go on after this
            loaded = list(load(folder, names))
    except ReleaseError:
        raise
    except Exception as exc:  # whatever AudioCraft stumbles over is the answer
        raise ReleaseError(f"AudioCraft's own loader cannot rebuild this release ({_reason(exc)}): mend what it "
                           "stumbles over, or export with verify=bytes if you load it otherwise.") from exc
    for module, file, keys in loaded:
        state = reduce(getitem, keys, torch.load(folder / file, "cpu", weights_only=True))
        for name, tensor in module.state_dict().items():
            if name not in state or not torch.equal(state[name].to(tensor.dtype), tensor):
                raise ReleaseError(f"{name} of {file} differs after AudioCraft's loader rebuilt the model: do "
                                   "not use it, or try the AudioCraft that trained it.")


def _reason(exc: Exception) -> str:
    """What an exception of AudioCraft says, in one line; where it was raised if it says nothing."""
    text = " ".join(str(exc).split())
    if isinstance(exc, AttributeError) and "audiocraft.models.loaders" in text:
        return f"AudioCraft {audiocraft_version()} has no loader for this kind of model: {text}"
    if not text:
        frame = extract_tb(exc.__traceback__)[-1]
        text = f"{frame.line} in {frame.filename}, line {frame.lineno}"
    return f"{type(exc).__name__}: {text}"
