"""The AudioCraft that is installed: its version, and its loaders as the judge of a release."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

from .errors import ReleaseError
from .families import Family


def audiocraft_version() -> Optional[str]:
    """`audiocraft.__version__`, the tag of AudioCraft's own exports, without the 5 s of importing it."""
    spec = find_spec("audiocraft")
    if spec is None or spec.origin is None:
        return None
    found = re.search(r"""^__version__ = ['"](.+?)['"]""", Path(spec.origin).read_text(encoding="utf-8"), re.M)
    return found and found[1]


def load_back(folder: Path, family: Family) -> None:
    """Rebuild the model of a release with AudioCraft's own loader and compare its weights.

    Raises:
        ReleaseError: if AudioCraft cannot rebuild it (with its reason), or the weights differ.
    """
    if family.load is None:
        raise ReleaseError("verify=load rebuilds AudioCraft's models, and this is none of them: use verify=bytes.")
    try:
        import torch
        from audiocraft.models import loaders
    except ImportError as exc:
        raise ReleaseError(f"verify=load needs AudioCraft, which cannot be imported here ({exc}): install it, or use "
                           "verify=bytes.") from exc
    try:
        model = family.load(loaders, str(folder))
    except Exception as exc:  # whatever AudioCraft stumbles over is the answer
        raise ReleaseError(f"AudioCraft's own loader cannot rebuild this release ({type(exc).__name__}: {exc}): "
                           "change the configuration, or export with verify=bytes if you load it otherwise.") from exc
    state = torch.load(folder / family.file, "cpu", weights_only=True)["best_state"]
    for name, tensor in model.state_dict().items():
        if not torch.equal(state[name].to(tensor.dtype), tensor):
            raise ReleaseError(f"{name} differs after AudioCraft's loader rebuilt the model: this release is unsound.")
