"""Which method of a solver trains, and which might."""

import inspect
from typing import Any, Optional

COMMIT = "commit"
_FOREIGN = (__package__, "flashy", "torch")  # packages whose methods are no entry of a project's solver


def named_entry(cls: Any) -> Optional[str]:
    """The method that trains: `export_after`, or a `run` other than Flashy's, which is not implemented."""
    run = getattr(cls, "run", None)
    return cls.export_after or ("run" if run and not is_foreign(run) else None)


def public_methods(cls: type) -> list[str]:
    """The methods of a project's solver that its main may call."""
    found = {name: inspect.getattr_static(cls, name) for name in dir(cls) if name[0] != "_" or name == "__call__"}
    return [name for name, method in found.items()
            if name != COMMIT and inspect.isfunction(method) and not is_foreign(method)]


def is_foreign(method: Any) -> bool:
    """Whether a method is of Flashy, torch or this package, and not of a project."""
    return any(f"{method.__module__}.".startswith(f"{package}.") for package in _FOREIGN)
