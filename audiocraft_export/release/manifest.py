"""A release as plain data: its files, its manifest, and the report of making it."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional

from ..errors import ReleaseError, reason
from ..experiment.xp import MANIFEST
from ..storage.durable_file import WrittenFile
from .metrics import is_number

FORMAT = 1
MOST_TEXT = 1 << 24  # bytes of a manifest


@dataclass(frozen=True)
class Manifest:
    """What a release is and where it comes from: `export.json`, written last.

    Args:
        sig: Dora's signature of the experiment.
        solver: the `solver` of its configuration.
        epoch: number of epochs trained.
        weights: section of the checkpoint that the weights come from.
        why: why from there.
        tensors: number of tensors.
        parameters: number of elements in them; tied ones count once.
        dtypes: number of tensors by element type.
        files: name, bytes and sha256 of each file.
        checkpoint: name, bytes and mtime_ns of the checkpoint; None for the state of a living solver, and for `bands`.
        codec: where the compression model comes from, for language models.
        config: where the configuration comes from: `checkpoint`, `.hydra/config.yaml` or `solver`.
        config_sha256: of its text in the release; None for `bands`.
        best: metric, epoch and validation metrics of the best epoch; of the last one where no metric is known.
        options: what the export was asked for.
        warnings: what is odd about it.
        versions: AudioCraft's tag in the release, and what made it.
        time: when, UTC, ISO 8601.
        nonfinite: by file and dotted name of a tensor, how many of its numbers are NaN or infinite; empty without any.
        bands: of a release made of several experiments, what is above of each of them.
        format: of this manifest.
    """

    sig: Optional[str]
    solver: Optional[str]
    epoch: int
    weights: str
    why: str
    tensors: int
    parameters: int
    dtypes: Mapping[str, int]
    files: list[WrittenFile]
    checkpoint: Optional[Mapping[str, Any]]
    codec: Optional[Mapping[str, Any]]
    config: str
    config_sha256: Optional[str]
    best: Optional[Mapping[str, Any]]
    options: Mapping[str, Any]
    warnings: list[str]
    versions: Mapping[str, str]
    time: str
    nonfinite: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    bands: Optional[list[Mapping[str, Any]]] = None
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, and a checksum of it; numbers that JSON does not have (NaN, infinity) become null."""
        values = dict(_jsonable(asdict(self)))
        return {**values, "checksum": sha256(json.dumps(values).encode()).hexdigest()}

    @property
    def text(self) -> str:
        """What stands in `export.json`."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    @property
    def name(self) -> str:
        """What to call it in a message: the signature of its experiment, or those of its bands."""
        return ", ".join(band.get("sig") or "checkpoint" for band in self.bands or [{"sig": self.sig}])

    @property
    def release_format(self) -> str:
        """The format of the release, which is AudioCraft's where nothing else is said."""
        return str(self.options.get("format", "audiocraft"))

    def is_complete(self, folder: Path) -> bool:
        """Whether its files are in a folder, by their sizes; they are not read."""
        try:
            return all(os.path.getsize(folder / file.name) == file.bytes for file in self.files)
        except (OSError, ValueError):
            return False

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides whether another export would make the same release."""
        same = ("sig", "checkpoint", "codec", "config_sha256", "bands", "options", "format")
        return {name: value for name, value in self.to_dict().items() if name in same}

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest of a release folder.

        Raises:
            ReleaseError: if there is none, or somebody or something has changed it since it was written.
        """
        path = folder / MANIFEST
        try:
            text = _read_text(path)
            values = {key: value for key, value in json.loads(text).items() if key != "checksum"}
            manifest = cls(**{**values, "files": [WrittenFile(**file) for file in values["files"]]})
            _check_types(manifest)
            changed = manifest.text != text
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            why = reason(exc) if isinstance(exc, OSError) else "it is no manifest of this tool"
            raise ReleaseError(f"{path} cannot be read ({why}): export again.") from exc
        if changed:
            raise ReleaseError(f"{path} was changed since it was written (its checksum differs): export again.")
        return manifest

    @staticmethod
    def unverified_files(folder: Path) -> list[WrittenFile]:
        """The files in a manifest, even in one that somebody has changed; none if there is none to read."""
        try:
            values = json.loads(_read_text(folder / MANIFEST))
            return [WrittenFile(str(file["name"]), file["bytes"], file["sha256"]) for file in values["files"]]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return []

    @classmethod
    def load_or_none(cls, folder: Path) -> Optional[Manifest]:
        """The manifest of a release folder; None if there is none that can be trusted."""
        try:
            return cls.load(folder)
        except ReleaseError:
            return None


def _check_types(manifest: Manifest) -> None:
    """Whoever writes a manifest of his own can write its checksum, too."""
    kinds: Mapping[str, Any] = {"sig": (str, type(None)), "solver": (str, type(None)), "epoch": int, "tensors": int,
             "parameters": int, "dtypes": dict, "options": dict, "warnings": list, "versions": dict, "nonfinite": dict,
             "bands": (list, type(None)), "checkpoint": (dict, type(None)), "codec": (dict, type(None)),
             "best": (dict, type(None))}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(manifest, name), kind)]
    wrong += [] if manifest.best is None or _is_best(manifest.best) else ["best"]
    wrong += [] if wrong or all(map(_are_counts, manifest.nonfinite.values())) else ["nonfinite"]
    names = [file.name for file in manifest.files if isinstance(file.name, str) and isinstance(file.sha256, str)
             and isinstance(file.bytes, int) and 0 <= file.bytes < 1 << 63]
    bands = [band for band in manifest.bands or [] if isinstance(band, dict)
             and isinstance(band.get("sig"), (str, type(None)))]
    if wrong or manifest.format != FORMAT or not names or len(set(names)) < len(manifest.files) \
            or len(bands) < len(manifest.bands or []):
        raise TypeError("a manifest of other types")


def _are_counts(tensors: Any) -> bool:
    return isinstance(tensors, dict) and all(isinstance(count, int) for count in tensors.values())


def _is_best(best: Any) -> bool:
    if not isinstance(best, dict) or not isinstance(best.get("valid"), dict):
        return False
    metric, valid = best.get("metric"), best["valid"]
    return all(map(is_number, valid.values())) and isinstance(best.get("epoch"), int) \
        and (metric is None or isinstance(metric, str) and metric in valid)


def _read_text(path: Path) -> str:
    if os.path.lexists(path) and not path.is_file():  # reading a pipe would wait for its writer
        raise OSError(errno.EINVAL, "it is no file")
    if os.path.getsize(path) > MOST_TEXT:
        raise OSError(errno.EFBIG, "it is too large")
    return path.read_bytes().decode("utf-8")


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value



