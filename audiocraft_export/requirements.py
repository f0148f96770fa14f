"""Check the optional packages of formats, model cards, the Hub and signatures."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Optional

from .errors import ReleaseError, listing

TRANSFORMERS = "transformers>=4.57"  # required by the transformers format
INSTALL = f"audiocraft_export and: pip install '{TRANSFORMERS}' matplotlib"


def require_packages(what: str, *packages: str, others: Sequence[str] = ()) -> None:
    """Check that optional packages are installed, without importing them.

    Args:
        what: the feature that needs the packages, for the message.
        packages: the names of the packages.
        others: packages that other features of the same export need, for the command that installs all of them.

    Raises:
        ReleaseError: if one is missing or too old; the message says how to install it.
    """
    missing = _missing(packages)
    if missing:
        raise ReleaseError("missing-package", f"{what} needs packages that are not installed: {listing(missing)}",
                           f"install with: pip install {' '.join(_missing([*packages, *others]))}")
    misfit = "transformers" in packages and (_transformers_misfit() or _misfit(TRANSFORMERS))
    if misfit:
        raise ReleaseError("incompatible-package", f"{what} needs {misfit}",
                           f"export in a separate environment without AudioCraft, with {INSTALL}")


def _missing(packages: Sequence[str]) -> list[str]:
    """Return the packages that are not installed, each once."""
    # A folder of the same name in `sys.path` is found as well, but has no origin.
    return [name for name in dict.fromkeys(packages) if getattr(find_spec(name), "origin", None) is None]


def transformers_problem() -> Optional[ReleaseError]:
    """Return an error if the installed transformers does not work with the installed torch, or None.

    Only package metadata is read: importing a transformers that needs a later torch breaks torch 2.1, which imports it.
    """
    misfit = _transformers_misfit()
    return ReleaseError("incompatible-package", f"the installed transformers needs {misfit}",
                        "uninstall it or install a compatible version; export the transformers format in a separate "
                        f"environment, with {INSTALL}") if misfit else None


def _transformers_misfit() -> Optional[str]:
    """Describe the first requirement of the installed transformers that is not met; None if all are met."""
    try:
        return next(filter(None, map(_misfit, requires("transformers") or [])), None)
    except PackageNotFoundError:
        return None


def _misfit(requirement: str) -> Optional[str]:
    """Describe a requirement that the installed version does not meet; None if it is met or not installed."""
    from packaging.requirements import Requirement  # a dependency of transformers
    needed = Requirement(requirement)
    if needed.marker and not needed.marker.evaluate({"extra": "torch" if needed.name == "torch" else ""}):
        return None
    try:
        found = version(needed.name)
    except PackageNotFoundError:
        return None
    return None if needed.specifier.contains(found, prereleases=True) else \
        f"{needed.name}{needed.specifier}, but {found} is installed"
