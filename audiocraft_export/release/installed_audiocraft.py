"""Read the version and the reference folder of the installed AudioCraft."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

from ..errors import CheckpointError

UNKNOWN_VERSION = "unknown"  # the version tag of a release if AudioCraft is not installed


def audiocraft_version() -> Optional[str]:
    """Return `audiocraft.__version__`, the tag of AudioCraft's own exports, without importing it, which takes 5 s."""
    try:
        spec = find_spec("audiocraft")
        text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    except OSError:  # an unreadable folder in `sys.path`
        return None
    found = re.search(r"""^__version__ = ['"](.+?)['"]""", text, re.M)
    return found and found[1]


def reference_folder() -> Path:
    """Return the folder of `//reference/`: `$AUDIOCRAFT_REFERENCE_DIR` or AudioCraft's team settings.

    Raises:
        CheckpointError: if neither is set.
    """
    if folder := os.environ.get("AUDIOCRAFT_REFERENCE_DIR"):
        return Path(folder)
    try:
        from audiocraft.environment import AudioCraftEnvironment
        return Path(AudioCraftEnvironment.get_reference_dir())
    except Exception as exc:  # Reading the team settings may raise any exception.
        raise CheckpointError("codec-not-found", "No folder for //reference/: AUDIOCRAFT_REFERENCE_DIR is not set, and "
                              f"AudioCraft has none ({type(exc).__name__}: {exc})",
                              "set AUDIOCRAFT_REFERENCE_DIR") from exc
