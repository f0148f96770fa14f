"""The summary of a checkpoint, a release or an experiment: sizes, tensors, metrics and a preview of the release."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.tensor import LazyTensor
from ..errors import ReleaseError, readable_size, without_credentials
from ..experiment.config import Config
from ..experiment.xp import ARGV, HYDRA_CONFIG, Experiment
from ..notebook import html_table
from ..options import RELEASE_FOLDER
from ..release.manifest import SIGNATURE, Manifest
from ..release.metrics import best_value
from ..release.owned_files import folder_of
from ..release.report import DryRunReport
from ..release.status import ReleaseStatus
from .xp_summary import metric_values

TRAINING, RELEASE, EXPERIMENT = "training checkpoint", "release", "experiment"


@dataclass(frozen=True)
class FileSummary:
    """Summary of a checkpoint, of a release, or of an experiment without a checkpoint.

    Attributes:
        kind: `training checkpoint`, `release` or `experiment`.
        path: the file, or the folder of a release or of an XP.
        nbytes: size of the file, or of all files of a release.
        sections: bytes by section of the file, or by file of a release; shared bytes count for the first section.
        tensors: the tensors by dotted name, with `dtype`, `shape` and `nbytes`.
        sig: the signature of the experiment; None if unknown.
        solver: the name of the solver; None if unknown.
        config: the configuration, whose `values` are plain data.
        epochs: number of finished epochs; None if unknown.
        xp: the experiment; None for a release.
        history: the metrics of each epoch.
        curve: the value of the metric in each epoch; None where it is missing.
        best: metric, epoch and validation metrics of the best epoch.
        last: the value of the metric in the last epoch that has it; None if it is not finite.
        manifest: the manifest of the existing or of the planned release.
        plan: what an export would do; None for a release.
        status: the state of the existing release.
        refused: the reason why an export with the default options fails, or None.
        warnings: the warnings, each with its code, as in the manifest.
        nonfinite: number of NaN and infinite values; None if unknown.
        content_digest: the digest of the weights of the existing or of the planned release; None if it was not asked
            for.
    """

    kind: str
    path: Path
    nbytes: int = 0
    sections: Mapping[str, int] = field(default_factory=dict)
    tensors: Mapping[str, LazyTensor] = field(default_factory=dict)
    sig: Optional[str] = None
    solver: Optional[str] = None
    config: Optional[Config] = None
    epochs: Optional[int] = None
    xp: Optional[Experiment] = None
    history: Sequence[Any] = ()
    curve: Sequence[Optional[float]] = ()
    best: Optional[Mapping[str, Any]] = None
    last: Optional[float] = None
    manifest: Optional[Manifest] = None
    plan: Optional[DryRunReport] = None
    status: Optional[ReleaseStatus] = None
    refused: Optional[str] = None
    warnings: list[str] = field(default_factory=list)
    nonfinite: Optional[int] = None
    content_digest: Optional[str] = None

    def with_warnings(self, *texts: str) -> FileSummary:
        """Return a copy with more warnings."""
        return replace(self, warnings=[*self.warnings, *texts])

    def to_dict(self, limit: Optional[int] = None) -> dict[str, Any]:
        """Return plain data for JSON, with at most `limit` tensors, the largest ones."""
        file = None if self.kind == EXPERIMENT else str(self.path.absolute())
        return {
            "kind": self.kind, "file": file, "file_bytes": self.nbytes if file else None,
            "started": self.started, "changed": self.changed, "curve": [*self.curve], **self.to_compare(),
            "nonfinite": self.status.nonfinite if self.nonfinite is None and self.status else self.nonfinite,
            "weights": self.manifest.weights if self.manifest else None,
            "files": dict(self.plan.files) if self.plan else {}, "refused": self.refused, "warnings": self.warnings,
            "manifest": self.release.to_dict() if self.release else None, "content_digest": self.content_digest,
            "signed": self.is_signed,
            "sections": dict(self.sections),
            "tensors": [{"name": name, "dtype": tensor.dtype, "shape": [*tensor.shape], "bytes": tensor.nbytes}
                        for name, tensor in self.largest(limit)],
        }

    def to_compare(self) -> dict[str, Any]:
        """Return plain data for the JSON of `compare`."""
        is_training = self.kind == TRAINING
        return {
            "sig": self.sig, "solver": self.solver, "xp": str(self.xp.folder.absolute()) if self.xp else None,
            "overrides": self.overrides, "epochs": self.epochs, **metric_values(self.best, self.last),
            "checkpoint": str(self.path.absolute()) if is_training else None,
            "checkpoint_bytes": self.nbytes if is_training else None, "folder": str(self.folder.absolute()),
            "state": self.status.key if self.status else None,
            "options": dict(self.status.options) if self.status else {},
            "bytes": self.release.nbytes if self.release else None,
        }

    @property
    def folder(self) -> Path:
        """The release folder."""
        return self.xp.folder / RELEASE_FOLDER if self.xp else folder_of(self.path)

    @property
    def is_signed(self) -> bool:
        """True if the release folder has a signature, which is not checked."""
        return os.path.isfile(self.folder / SIGNATURE)

    @property
    def release(self) -> Optional[Manifest]:
        """The manifest of the existing release."""
        return self.status.manifest if self.status else None

    @property
    def overrides(self) -> Optional[list[str]]:
        """The command line of the training, without credentials."""
        argv = self.xp.argv if self.xp else None
        return None if argv is None else [without_credentials(str(arg)) for arg in argv]

    @property
    def changed(self) -> Optional[float]:
        """Time of the last change of the checkpoint, or of the folder of an experiment without one."""
        return _mtime(self.path) if self.xp else None

    @property
    def started(self) -> Optional[float]:
        """Time of the oldest file of the training; None if Dora and Hydra left no file.

        Dora writes its files again if a training is resumed, and copied files may have the time of the copy.
        """
        if self.xp is None or self.overrides is None:
            return None
        paths = [self.path, *(self.xp.folder / name for name in (ARGV, HYDRA_CONFIG)), *self.xp.checkpoints]
        return min(filter(None, map(_mtime, paths)), default=None)

    def largest(self, limit: Optional[int] = None) -> list[tuple[str, LazyTensor]]:
        """Return the largest tensors with their names."""
        return sorted(self.tensors.items(), key=lambda item: -item[1].nbytes)[:limit]

    def _repr_html_(self) -> str:
        best, values = self.best or {}, [value for value in self.curve if value is not None]
        text = f"best {best_value(best):.4g} in epoch {best['epoch']}" if best.get("metric") else ""
        text = text or (f"{min(values):.4g} to {max(values):.4g}" if values else "")
        rows = [("path", self.path), ("size", readable_size(self.nbytes) if self.nbytes else None),
                ("solver", self.solver), ("epochs", self.epochs),
                (str(best.get("metric") or "metric"), text or None),
                ("release", self.status and str(self.status)), ("cannot be exported", self.refused),
                *((name, readable_size(nbytes)) for name, nbytes in self.sections.items()),
                *(("warning", each) for each in self.warnings)]
        return html_table(f"{self.kind} {self.sig or ''}".capitalize(), [row for row in rows if row[1] is not None])

    def keys(self) -> dict[str, str]:
        """Return the dotted keys of the configuration with their unresolved values as JSON.

        Raises:
            ReleaseError: if this file has no configuration.
        """
        if self.config is None:
            raise ReleaseError("missing-config", f"{self.path} has no configuration to compare",
                               "name an experiment, or a release with its configuration")
        return dict(_flatten(self.config.values, ""))


def differing_keys(configs: Sequence[Mapping[str, str]]) -> list[tuple[str, list[Optional[str]]]]:
    """Return the keys that differ between configurations, with a value for each of them; None where it is missing."""
    rows = ((key, [config.get(key) for config in configs]) for key in sorted(set().union(*configs)))
    return [(key, values) for key, values in rows if len({*values}) > 1]


def _flatten(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of a configuration with their values as JSON."""
    if isinstance(value, dict) and (value or not key):
        for name, item in value.items():
            yield from _flatten(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(value, ensure_ascii=False, default=str)


def _mtime(path: Path) -> Optional[float]:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
