"""Packages that only some exports need: the extra `hf`."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import ReleaseError


def require(what: str, *packages: str) -> None:
    """Check that packages of the extra `hf` are installed; none is imported.

    Args:
        what: what needs them, for the message.
        packages: their names.

    Raises:
        ReleaseError: if one is not there; the message says how to install it.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ReleaseError(f"{what} needs {' and '.join(missing)}, not installed here: "
                           "pip install 'audiocraft-export[hf]'.")
