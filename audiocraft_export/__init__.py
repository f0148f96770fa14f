"""Turn AudioCraft and Flashy training checkpoints into light, verified, deployment-ready releases."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .dora_main import with_export
    from .drop_ins import export_encodec, export_lm, export_pretrained_compression_model
    from .errors import ExportError
    from .experiment import find_xp, list_xps
    from .export import export_checkpoint, export_xp
    from .options import ExportOptions
    from .release import ExportReport
    from .solver import ExportMixin
    from .verification import verify

__all__ = [
    "ExportError",
    "ExportMixin",
    "ExportOptions",
    "ExportReport",
    "export_checkpoint",
    "export_encodec",
    "export_lm",
    "export_pretrained_compression_model",
    "export_xp",
    "find_xp",
    "list_xps",
    "verify",
    "with_export",
]

_HOMES = {
    "ExportError": "errors",
    "ExportMixin": "solver",
    "ExportOptions": "options",
    "ExportReport": "release",
    "export_checkpoint": "export",
    "export_encodec": "drop_ins",
    "export_lm": "drop_ins",
    "export_pretrained_compression_model": "drop_ins",
    "export_xp": "export",
    "find_xp": "experiment",
    "list_xps": "experiment",
    "verify": "verification",
    "with_export": "dora_main",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
