"""Rebuild the models of a release with the library that it is for, and report what cannot be rebuilt."""

import os
from pathlib import Path

from ..errors import ReleaseError, reason
from ..formats.registry import require_loader, verify_loads
from ..release.families.registry import family_named
from ..release.manifest import Manifest
from .file import Problem


def check_rebuild(folder: Path) -> list[Problem]:
    """What is wrong with a release that cannot be rebuilt; empty if it can be.

    Raises:
        ReleaseError: if it is no folder with a manifest, or the library is not installed.
    """
    if not os.path.isdir(folder):
        raise ReleaseError(f"--load rebuilds what a whole release folder holds, and {folder} is a file: name its "
                           "folder.")
    manifest = Manifest.load(folder)
    family = family_named(manifest.solver)
    names = [file.name for file in manifest.files]
    require_loader(manifest.release_format, family)
    try:
        verify_loads(manifest.release_format, folder, family, names)
    except ReleaseError as exc:
        return [Problem(names[0], None, f"is not rebuilt ({reason(exc)})")]
    return []
