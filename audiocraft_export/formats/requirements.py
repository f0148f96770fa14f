"""Packages that only some exports need: the extra `hf`."""

import re
from importlib.metadata import version
from importlib.util import find_spec

from ..errors import ReleaseError

# By package: which package needs it, and the oldest version.
MINIMUM_VERSIONS = {"transformers": ("transformers", (4, 57)), "torch": ("transformers", (2, 2))}


def require_packages(what: str, *packages: str) -> None:
    """Check that packages of the extra `hf` are installed, for `what`; none is imported.

    Raises:
        ReleaseError: if one is missing or too old; the message says how to install it.
    """
    missing = [package for package in packages if getattr(find_spec(package), "origin", None) is None]  # or a folder
    if missing:
        raise ReleaseError(f"{what} needs {' and '.join(missing)}, not installed here: "
                           "pip install 'audiocraft-export[hf]'.")
    for package, (needed, oldest) in MINIMUM_VERSIONS.items():
        found = tuple(map(int, re.findall(r"\d+", version(package))[:2])) if needed in packages else oldest
        if found < oldest:
            raise ReleaseError(f"{what} needs {package} {'.'.join(map(str, oldest))}, and {version(package)} is "
                               "installed here: export in an environment of its own, which needs no AudioCraft (pip "
                               "install 'audiocraft-export[hf]').")
