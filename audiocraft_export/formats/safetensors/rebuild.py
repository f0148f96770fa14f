"""Rebuild the models of a safetensors release with AudioCraft's loaders."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ...errors import ReleaseError, reason
from ...release.families.registry import Family
from ..audiocraft.rebuild import verify_with_audiocraft
from ..encoders import dump
from .layout import from_safetensors


def rebuild_with_audiocraft(folder: Path, family: Family, names: Sequence[str]) -> None:
    """Rebuild the models from temporary files of torch, and compare their weights; ReleaseError if that fails."""
    contents = from_safetensors(folder, names)
    try:
        with TemporaryDirectory(prefix="audiocraft-export-") as name:
            dump(Path(name), contents)
            verify_with_audiocraft(Path(name), family, list(contents))
    except OSError as exc:
        raise ReleaseError(f"verify=load puts the model together once more in a temporary folder, and cannot "
                           f"({reason(exc)}): make room, set TMPDIR, or use verify=bytes.") from exc
