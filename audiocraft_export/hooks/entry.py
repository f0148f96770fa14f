"""Find the method of a solver that trains, or its public methods that may train."""

import inspect
from typing import Any, Optional

COMMIT, RESTORE = "commit", "restore"  # of Flashy
_LIBRARIES = (__package__, "flashy", "torch")  # packages whose methods are never the entry point of a training


def named_entry(cls: Any) -> Optional[str]:
    """Return the name of the method that trains: `export_after`, or `run` if the project defines it, or None."""
    run = getattr(cls, "run", None)
    return cls.export_after or ("run" if run and not is_library_method(run) else None)


def public_methods(cls: type) -> list[str]:
    """Return the names of the methods of a solver that a main may call, except methods of libraries."""
    found = {name: inspect.getattr_static(cls, name) for name in dir(cls) if name[0] != "_" or name == "__call__"}
    return [name for name, method in found.items()
            if name != COMMIT and inspect.isfunction(method) and not is_library_method(method)]


def accepts(method: Any, *names: str) -> bool:
    """Return whether a method can be called with `self` and these keyword arguments alone."""
    try:
        inspect.signature(method).bind(None, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def is_library_method(method: Any) -> bool:
    """Return whether a method is defined by Flashy, torch or this package rather than by a project."""
    return any(f"{method.__module__}.".startswith(f"{package}.") for package in _LIBRARIES)
