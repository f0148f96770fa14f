"""What `with_export`, `ExportMixin` and `EpochExporter` tell each other about the XP of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Optional

from ..storage.file_version import FileVersion

if TYPE_CHECKING:
    from ..options import ExportOptions
    from ..release.metrics import BestRule
    from ..release.report import ExportReport


@dataclass
class XPState:
    """The state of the hooks for one XP."""

    # `sign` and `attest` with a key: with_export does not write them to `xp.cfg`, which solvers store in checkpoints.
    signing: Mapping[str, Any] = field(default_factory=dict)
    keys: Optional[Mapping[str, Any]] = None  # `export` and `exporter`, which with_export removed from `xp.cfg`
    is_exported_by_solver: bool = False  # whether ExportMixin exports during the training
    report: Optional[ExportReport] = None  # the export of ExportMixin after the training
    exported: Optional[FileVersion] = None  # the checkpoint of that export
    # How the last solver with ExportMixin selects its best state, if with_export makes the last export.
    best_rule: Optional[Callable[[ExportOptions], Optional[BestRule]]] = None


def xp_state(xp: Any) -> XPState:
    """Return the state of the hooks for an XP of Dora, which keeps it."""
    state: XPState = vars(xp).setdefault("export_state", XPState())
    return state
