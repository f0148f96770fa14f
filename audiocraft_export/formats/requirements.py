"""Packages that only some exports need: the extra `hf`."""

import re
from importlib.metadata import version
from importlib.util import find_spec

from ..errors import ReleaseError

MINIMUM_VERSIONS = {"transformers": (4, 57), "torch": (2, 2)}  # where transformers is needed


def require_packages(what: str, *packages: str) -> None:
    """Check that packages of the extra `hf` are installed, for `what`; none is imported.

    Raises:
        ReleaseError: if one is missing or too old; the message says how to install it.
    """
    missing = [package for package in packages if getattr(find_spec(package), "origin", None) is None]  # or a folder
    if missing:
        raise ReleaseError(f"{what} needs {' and '.join(missing)}, not installed here: "
                           "pip install 'audiocraft-export[hf]'.")
    for package, oldest in MINIMUM_VERSIONS.items() if "transformers" in packages else ():
        if tuple(map(int, re.findall(r"\d+", version(package))[:2])) < oldest:
            raise ReleaseError(f"{what} needs {package} {'.'.join(map(str, oldest))}, and {version(package)} is "
                               "installed here: export in an environment of its own, which needs no AudioCraft (pip "
                               "install 'audiocraft-export[hf]').")
