"""Turn AudioCraft and Flashy training checkpoints into light, verified, deployment-ready releases."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .errors import ExportError
    from .experiment.xp import find_xp, list_xps
    from .hooks.hydra_main import with_export
    from .hooks.solver import ExportMixin
    from .options import ExportOptions
    from .pipeline.drop_ins import export_encodec, export_lm, export_pretrained_compression_model
    from .pipeline.export import export_checkpoint, export_xp
    from .release.report import ExportReport
    from .verification.release import verify

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

_MODULES = {
    "ExportError": "errors",
    "ExportMixin": "hooks.solver",
    "ExportOptions": "options",
    "ExportReport": "release.report",
    "export_checkpoint": "pipeline.export",
    "export_encodec": "pipeline.drop_ins",
    "export_lm": "pipeline.drop_ins",
    "export_pretrained_compression_model": "pipeline.drop_ins",
    "export_xp": "pipeline.export",
    "find_xp": "experiment.xp",
    "list_xps": "experiment.xp",
    "verify": "verification.release",
    "with_export": "hooks.hydra_main",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
