"""The manifest of a release, `export.json`: what the release is and where it comes from."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional

from ..errors import ReleaseError, reason
from ..experiment.xp import CHECKPOINT_FILE, MANIFEST
from ..options import ExportOptions
from ..storage.durable_file import WrittenFile
from .limits import MAX_MANIFEST_BYTES
from .metrics import is_number

FORMAT = 2  # 1 had no `weights_epoch`, no `sig_source` and no identity of a checkpoint
_FINGERPRINT = ("sig", "checkpoint", "codec", "config_sha256", "bands", "options")
_STR_OR_NONE, _DICT_OR_NONE, _LIST_OR_NONE = (str, type(None)), (dict, type(None)), (list, type(None))
_FIELD_TYPES: Mapping[str, Any] = {
    "sig": _STR_OR_NONE, "solver": _STR_OR_NONE, "epoch": int, "tensors": int, "parameters": int, "dtypes": dict,
    "checkpoint": _DICT_OR_NONE, "codec": _DICT_OR_NONE, "best": _DICT_OR_NONE, "options": dict, "warnings": list,
    "versions": dict, "nonfinite": dict, "bands": _LIST_OR_NONE, "weights_epoch": (int, type(None)),
    "sig_source": _STR_OR_NONE, "family": _STR_OR_NONE,
}


@dataclass(frozen=True)
class Manifest:
    """What stands in `export.json`, which is written last."""

    sig: Optional[str]  # Dora's signature of the experiment
    solver: Optional[str]  # the `solver` of its configuration
    epoch: int  # number of epochs trained
    weights: str  # section of the checkpoint that the weights come from
    why: str  # why from there
    tensors: int  # number of tensors
    parameters: int  # number of elements in them; tied ones count once
    dtypes: Mapping[str, int]  # number of tensors by element type
    files: list[WrittenFile]  # name, bytes and sha256 of each file
    checkpoint: Optional[Mapping[str, Any]]  # name, bytes and mtime_ns; None for a living solver and for `bands`
    codec: Optional[Mapping[str, Any]]  # where the compression model comes from, for language models
    config: str  # where the configuration comes from: `checkpoint`, `.hydra/config.yaml` or `solver`
    config_sha256: Optional[str]  # of its text in the release; None for `bands`
    best: Optional[Mapping[str, Any]]  # metrics of the epoch of released best weights: `Selection.describe`
    options: Mapping[str, Any]  # what the export was asked for
    warnings: list[str]  # what is odd about it
    versions: Mapping[str, str]  # AudioCraft's tag in the release, and what made it
    time: str  # when, UTC, ISO 8601
    nonfinite: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # NaN and Inf by file and tensor, if any
    bands: Optional[list[Mapping[str, Any]]] = None  # of several experiments: some of the fields above for each
    weights_epoch: Optional[int] = None  # of which epoch the weights are, if that is known
    sig_source: Optional[str] = None  # where the signature comes from: `checkpoint`, `XP folder` or `solver`
    family: Optional[str] = None  # of the model: the name of AudioCraft's solver for such models, or `general`
    format: int = FORMAT  # of this manifest

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, and a checksum of it; numbers that JSON does not have (NaN, infinity) become null."""
        values = json.loads(json.dumps(asdict(self)), parse_constant=lambda name: None)
        return {**values, "checksum": _checksum(values)}

    @property
    def text(self) -> str:
        """The JSON in `export.json`."""
        return _to_json(self.to_dict())

    @property
    def name(self) -> str:
        """What to call it in a message: the signature of its experiment, or those of its bands."""
        return ", ".join(band.get("sig") or "checkpoint" for band in self.bands or [{"sig": self.sig}])

    @property
    def known_best(self) -> Optional[Mapping[str, Any]]:
        """`best`, if that is the epoch of the released weights: format 1 had the lowest loss of any solver there."""
        return self.best if self.best and self.best["epoch"] == self.weights_epoch else None

    @property
    def weights_text(self) -> str:
        """Which weights are released, for a message: their section, and of which epoch they are if that is known."""
        return f"{self.weights} {self.epochs_text}"

    @property
    def epochs_text(self) -> str:
        """Of which epoch the weights are, if that is known, and after how many."""
        return f"{'' if self.weights_epoch is None else f'of epoch {self.weights_epoch}, '}after {self.epoch} epochs"

    @property
    def changed_options(self) -> str:
        """The options other than the defaults that the release was made with, for a message."""
        source = (self.checkpoint or {}).get("name", CHECKPOINT_FILE)
        changed = {name: value for name, value in self.options.items()
                   if name != "version" and value != getattr(ExportOptions, name, None)}
        changed |= {"checkpoint": source} if source != CHECKPOINT_FILE else {}
        return ", ".join(f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
                         for name, value in changed.items())

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
        return {name: value for name, value in self.to_dict().items() if name in _FINGERPRINT}

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a release folder.

        Raises:
            ReleaseError: if there is none, or somebody or something has changed it since it was written.
        """
        path = folder / MANIFEST
        try:
            text = _read_text(path)
            values = json.loads(text)
            checksum = values.pop("checksum")
            if isinstance(values["format"], int) and values["format"] > FORMAT:
                raise OSError(errno.EINVAL, f"its format {values['format']} is newer than this audiocraft-export")
            manifest = cls(**{**values, "files": [WrittenFile(**file) for file in values["files"]]})
            if not _is_valid(manifest):
                raise TypeError("a manifest of other types")
            changed = checksum != _checksum(values) or text != _to_json({**values, "checksum": checksum})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            why = reason(exc) if isinstance(exc, OSError) else "it is no manifest of this tool"
            raise ReleaseError(f"{path} cannot be read ({why}): export again.") from exc
        if changed:
            raise ReleaseError(f"{path} was changed since it was written (its checksum differs): export again.")
        return manifest

    @staticmethod
    def unverified(folder: Path) -> dict[str, Any]:
        """The values in a manifest, even in one that was changed; empty if it cannot be read."""
        try:
            values = json.loads(_read_text(folder / MANIFEST))
        except (OSError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    @classmethod
    def unverified_files(cls, folder: Path) -> list[WrittenFile]:
        """The files in a manifest, as `unverified`."""
        try:
            return [WrittenFile(str(file["name"]), file["bytes"], file["sha256"])
                    for file in cls.unverified(folder)["files"]]
        except (TypeError, KeyError):
            return []

    @classmethod
    def load_or_none(cls, folder: Path) -> Optional[Manifest]:
        """As `load`; None if there is no valid manifest."""
        try:
            return cls.load(folder)
        except ReleaseError:
            return None


def _is_valid(manifest: Manifest) -> bool:
    """Whether every field has the right type: the checksum is no authentication."""
    return (
        manifest.format in range(1, FORMAT + 1)
        and all(isinstance(getattr(manifest, name), types) for name, types in _FIELD_TYPES.items())
        and bool(manifest.files) and all(map(_is_file, manifest.files))
        and len({file.name for file in manifest.files}) == len(manifest.files)
        and all(isinstance(band, dict) and isinstance(band.get("sig"), _STR_OR_NONE) for band in manifest.bands or ())
        and (manifest.best is None or _is_best(manifest.best))
        and all(isinstance(tensors, dict) and all(isinstance(count, int) for count in tensors.values())
                for tensors in manifest.nonfinite.values()))


def _checksum(values: Mapping[str, Any]) -> str:
    return sha256(json.dumps(values).encode()).hexdigest()


def _to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def _is_file(file: WrittenFile) -> bool:
    return isinstance(file.name, str) and isinstance(file.sha256, str) and isinstance(file.bytes, int) \
        and 0 <= file.bytes < 1 << 63


def _is_best(best: Mapping[str, Any]) -> bool:
    metric, valid = best.get("metric"), best.get("valid")
    return isinstance(valid, dict) and all(map(is_number, valid.values())) and isinstance(best.get("epoch"), int) \
        and (metric is None or isinstance(metric, str) and (metric in valid or is_number(best.get("value"))))


def _read_text(path: Path) -> str:
    if os.path.lexists(path) and not path.is_file():  # reading a pipe would wait for its writer
        raise OSError(errno.EINVAL, "it is no file")
    if os.path.getsize(path) > MAX_MANIFEST_BYTES:
        raise OSError(errno.EFBIG, "it is too large")
    return path.read_bytes().decode("utf-8")
