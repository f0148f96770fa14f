"""The installed AudioCraft: its version and its reference folder."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

from ..errors import CheckpointError


def audiocraft_version() -> Optional[str]:
    """`audiocraft.__version__`, the tag of AudioCraft's own exports, without the 5 s of importing it."""
    try:
        spec = find_spec("audiocraft")
        text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    except OSError:  # one of the folders in which Python looks for modules cannot be read
        return None
    found = re.search(r"""^__version__ = ['"](.+?)['"]""", text, re.M)
    return found and found[1]


def reference_folder() -> Path:
    """The folder that `//reference/` stands for: $AUDIOCRAFT_REFERENCE_DIR, or that of AudioCraft's team settings.

    Raises:
        CheckpointError: if neither says.
    """
    if folder := os.environ.get("AUDIOCRAFT_REFERENCE_DIR"):
        return Path(folder)
    try:
        from audiocraft.environment import AudioCraftEnvironment
        return Path(AudioCraftEnvironment.get_reference_dir())
    except Exception as exc:  # whatever stands in the team settings
        raise CheckpointError("where //reference/ is, this machine does not say, and neither does AudioCraft "
                              f"({type(exc).__name__}: {exc}): set AUDIOCRAFT_REFERENCE_DIR.") from exc
