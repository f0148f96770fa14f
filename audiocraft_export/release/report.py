"""What an export did, or would do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..errors import readable_size
from .manifest import Manifest
from .status import DAMAGED, NONE, ReleaseStatus


@dataclass(frozen=True)
class ExportReport:
    """What an export did."""

    folder: Path  # of the release
    manifest: Manifest
    written: bool = True  # False if that very release was there already, and nothing was written
    url: Optional[str] = None  # where it is on the Hub, if it was pushed
    replaced: Optional[str] = None  # which release was there before, for a message

    @property
    def files(self) -> list[Path]:
        """The paths of the release's files, without the manifest."""
        return [self.folder / file.name for file in self.manifest.files]

    @property
    def bytes(self) -> int:
        """Size of the release's files, in bytes."""
        return self.manifest.nbytes

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        known = {name: value for name, value in (("url", self.url), ("replaced", self.replaced)) if value}
        return {"folder": str(self.folder), "written": self.written, **known, **self.manifest.to_dict()}

    @property
    def done(self) -> str:
        """What was done, in a word."""
        return "exported" if self.written else "already exported"

    def __str__(self) -> str:
        return (f"{self.manifest.name} {self.done}: {self.manifest.weights_text}, "
                f"{self.manifest.tensors} tensors, {readable_size(self.bytes)} in {self.folder}"
                f"{f', replaced {self.replaced}' if self.replaced else ''}"
                f"{f', pushed to {self.url}' if self.url else ''}")


@dataclass(frozen=True)
class Plan:
    """What an export would do."""

    folder: Path  # of the release
    manifest: Manifest  # without the files
    files: Mapping[str, int]  # size by name in bytes, without some kB that the container adds
    is_there: bool  # whether nothing would be written, as the release there is up to date
    status: ReleaseStatus = ReleaseStatus(NONE)  # of the release there; its files are not read
    replaced: Optional[str] = None  # which other release is there, for a message

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        files = [{"name": name, "bytes": nbytes} for name, nbytes in self.files.items()]
        values = {name: value for name, value in self.manifest.to_dict().items() if name not in ("time", "checksum")}
        known = {"replaced": self.replaced} if self.replaced else {}
        return {"folder": str(self.folder), "is_there": self.is_there, **known, **self.status.to_dict(), **values,
                "files": files}

    @property
    def sizes(self) -> str:
        """The files and their sizes, for a message."""
        return ", ".join(f"{name} {readable_size(nbytes)}" for name, nbytes in self.files.items())

    @property
    def bytes(self) -> int:
        """Size of the release's files, in bytes, but for some kB."""
        return sum(self.files.values())

    @property
    def done(self) -> str:
        """What would be done, in a word."""
        return "is exported already" if self.is_there else "would be exported"

    def __str__(self) -> str:
        existing = "" if self.status.is_wanted or self.status.state == NONE else f"; the release there is {self.status}"
        replacing = f", replacing {self.replaced}" if self.replaced and self.status.state != DAMAGED else ""
        return (f"{self.manifest.name} {self.done}: {self.manifest.weights_text} "
                f"({self.manifest.why}), {self.sizes} in {self.folder}{replacing}{existing}")
