"""Turn AudioCraft and Flashy training checkpoints into light, verified, deployment-ready releases."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .errors import ExportError
    from .hooks.hydra_main import with_export
    from .hooks.solver import ExportMixin
    from .inspection.experiments import find_xp, list_xps
    from .inspection.inspect import inspect
    from .inspection.loaded_release import load_release
    from .options import ExportOptions
    from .pipeline.convert import convert
    from .pipeline.drop_ins import export_encodec, export_lm, export_pretrained_compression_model
    from .pipeline.export import export_checkpoint, export_xp
    from .release.report import ExportReport
    from .verification.release import verify

__all__ = [
    "ExportError", "ExportMixin", "ExportOptions", "ExportReport", "convert", "export_checkpoint", "export_encodec",
    "export_lm", "export_pretrained_compression_model", "export_xp", "find_xp", "inspect", "list_xps", "load_release",
    "verify", "with_export",
]

_MODULES = {
    "errors": ["ExportError"],
    "hooks.hydra_main": ["with_export"],
    "hooks.solver": ["ExportMixin"],
    "inspection.experiments": ["find_xp", "list_xps"],
    "inspection.inspect": ["inspect"],
    "inspection.loaded_release": ["load_release"],
    "options": ["ExportOptions"],
    "pipeline.convert": ["convert"],
    "pipeline.drop_ins": ["export_encodec", "export_lm", "export_pretrained_compression_model"],
    "pipeline.export": ["export_checkpoint", "export_xp"],
    "release.report": ["ExportReport"],
    "verification.release": ["verify"],
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
