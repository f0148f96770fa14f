"""The result of an export, and of a dry run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from ..errors import plural, readable_size
from ..notebook import html_table
from .manifest import SIGNATURE, Manifest
from .status import DAMAGED, MISSING, UNREADABLE, UP_TO_DATE, ReleaseStatus


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Attributes:
        folder: the release folder.
        manifest: the manifest of the release, whose keys are attributes.
        written: False if the release was already up to date, so that nothing was written.
        url: URL of the release on the Hub, if it was pushed.
        replaced: the release that was replaced, for a message.
        checkpoint: the checkpoint file; None without one, or if it is unknown.
        xp: the XP folder; None without one, or if it is unknown.
        status: the state of the release.
        verb: what was done to write the release: `exported` or `converted`.
        signed: whether the release is signed with the key of the export; `signed` in JSON is true for any key.
    """

    folder: Path
    manifest: Manifest
    written: bool = True
    url: Optional[str] = None
    replaced: Optional[str] = None
    checkpoint: Optional[Path] = None
    xp: Optional[Path] = None
    status: ReleaseStatus = ReleaseStatus(UP_TO_DATE)
    verb: str = "exported"
    signed: bool = False

    @property
    def files(self) -> list[Path]:
        """The paths of the release files, without the manifest."""
        return [self.folder / file.name for file in self.manifest.files]

    @property
    def bytes(self) -> int:
        """Total size of the release files, in bytes."""
        return self.manifest.nbytes

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with the keys of `cli/schema.json`."""
        return {**_to_dict(self), "bytes": self.bytes, "nonfinite": self.manifest.nonfinite_in(), "url": self.url,
                "manifest": self.manifest.to_dict()}

    @property
    def done(self) -> str:
        """The result for a table: `exported`, `already exported`, `converted` or `already converted`."""
        return self.verb if self.written else f"already {self.verb}"

    def __str__(self) -> str:
        tensors = self.manifest.tensors
        return (f"{self.manifest.name} {self.done}: {self.manifest.weights_text}, {tensors} "
                f"{plural(tensors, 'tensor')}, {readable_size(self.bytes)} in {self.folder}"
                f"{', signed' if self.signed else ''}{f', replaced {self.replaced}' if self.replaced else ''}"
                f"{f', pushed to {self.url}' if self.url else ''}")

    def _repr_html_(self) -> str:
        files = [(file.name, readable_size(file.bytes)) for file in self.manifest.files]
        more = [("replaced", self.replaced), ("pushed to", self.url)]
        return html_table(f"{self.manifest.name} {self.done}", [
            ("folder", self.folder), ("weights", self.manifest.weights_text), ("tensors", self.manifest.tensors),
            *files, *(row for row in more if row[1]), *(("warning", each) for each in self.manifest.warnings)])


@dataclass(frozen=True)
class DryRunReport:
    """The result of a dry run."""

    folder: Path  # the release folder
    manifest: Manifest  # complete except for `files`
    files: Mapping[str, int]  # sizes in bytes by name
    is_current: bool  # whether the existing release is up to date, so that nothing would be written
    status: ReleaseStatus = ReleaseStatus(MISSING)  # the state of the existing release; its files are not read
    replaced: Optional[str] = None  # the release that would be replaced, for a message
    checkpoint: Optional[Path] = None  # the checkpoint file
    xp: Optional[Path] = None  # the XP folder

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with the keys of `cli/schema.json`."""
        existing = self.status.manifest if self.is_current else None
        return {**_to_dict(self), "bytes": existing.nbytes if existing else self.bytes,
                "nonfinite": existing.nonfinite_in() if existing else None, "url": None,
                "manifest": existing.to_dict() if existing else self._planned_manifest}

    @property
    def _planned_manifest(self) -> dict[str, Any]:
        """The known values of the manifest that an export would write."""
        values = {name: value for name, value in self.manifest.to_dict().items() if name not in ("time", "checksum")}
        return {**values, "files": [{"name": name, "bytes": nbytes} for name, nbytes in self.files.items()]}

    @property
    def sizes(self) -> str:
        """The files and their sizes, for a message; those of the existing release if nothing would be written."""
        existing = self.status.manifest if self.is_current else None
        files = {file.name: file.bytes for file in existing.files} if existing else self.files
        return ", ".join(f"{name} {readable_size(nbytes)}" for name, nbytes in files.items())

    @property
    def bytes(self) -> int:
        """Total size of the release files in bytes."""
        return sum(self.files.values())

    @property
    def done(self) -> str:
        """The expected result for a table: `would be exported` or `already exported`."""
        return "already exported" if self.is_current else "would be exported"

    def __str__(self) -> str:
        is_silent = self.status.is_wanted or self.status.state == MISSING or self.replaced and self.status.options
        existing = "" if is_silent else f"; the existing release is {self.status}"
        is_described = self.status.state in (DAMAGED, UNREADABLE)  # by `existing`
        replacing = f", replacing {self.replaced}" if self.replaced and not is_described else ""
        return (f"{self.manifest.name} {self.done}: {self.manifest.weights_text} "
                f"({self.manifest.why}), {self.sizes} in {self.folder}{replacing}{existing}")


def _to_dict(result: Union[ExportReport, DryRunReport]) -> dict[str, Any]:
    """Return the values for JSON that an export and its dry run have in common."""
    manifest = result.manifest
    return {
        "sig": manifest.sig, "solver": manifest.solver, "xp": _path(result.xp), "checkpoint": _path(result.checkpoint),
        "checkpoint_bytes": manifest.source.get("bytes"), "folder": str(result.folder),
        "state": result.status.key, "options": dict(result.status.options), "result": result.done.replace(" ", "_"),
        "weights": manifest.weights, "replaced": result.replaced, "warnings": [*manifest.warnings],
        "signed": os.path.isfile(result.folder / SIGNATURE),
    }


def _path(path: Optional[Path]) -> Optional[str]:
    return None if path is None else str(path)
