"""Packages that only some exports need: the extras `hf` and `transformers`."""

from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Optional

from ..errors import ReleaseError

TRANSFORMERS = "transformers>=4.57"  # for a release in its format
INSTALL = "pip install 'audiocraft-export[transformers]'"


def require_packages(what: str, *packages: str) -> None:
    """Check that packages of an extra are installed, for `what`; none is imported.

    Raises:
        ReleaseError: if one is missing or too old; the message says how to install it.
    """
    extra = "transformers" if "transformers" in packages else "hf"
    missing = [package for package in packages if getattr(find_spec(package), "origin", None) is None]  # or a folder
    if missing:
        raise ReleaseError(f"{what} needs {' and '.join(missing)}, not installed here: "
                           f"pip install 'audiocraft-export[{extra}]'.")
    misfit = extra == "transformers" and (_transformers_misfit() or _misfit(TRANSFORMERS))
    if misfit:
        raise ReleaseError(f"{what} needs {misfit}: export in an environment of its own, which needs no AudioCraft "
                           f"({INSTALL}).")


def transformers_problem() -> Optional[str]:
    """Why the installed transformers does not work here, in a sentence; None if it does, or if there is none.

    Only metadata is read: importing a transformers that needs a later torch breaks what torch 2.1 imports it for.
    """
    misfit = _transformers_misfit()
    return misfit and (f"The transformers that is installed needs {misfit}: uninstall it, or install one that fits. "
                       f"Its format is exported in an environment of its own ({INSTALL}).")


def _transformers_misfit() -> Optional[str]:
    try:
        return next(filter(None, map(_misfit, requires("transformers") or [])), None)
    except PackageNotFoundError:
        return None


def _misfit(requirement: str) -> Optional[str]:
    """A requirement and the version that does not meet it; None if one does, or if the package is not installed."""
    from packaging.requirements import Requirement  # which transformers needs
    needed = Requirement(requirement)
    if needed.marker and not needed.marker.evaluate({"extra": "torch" if needed.name == "torch" else ""}):
        return None
    try:
        found = version(needed.name)
    except PackageNotFoundError:
        return None
    return None if needed.specifier.contains(found, prereleases=True) else \
        f"{needed.name}{needed.specifier}, and {found} is installed here"
