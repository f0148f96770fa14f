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
from ..experiment.xp import MANIFEST
from ..storage.durable_file import WrittenFile
from .limits import MAX_MANIFEST_BYTES
from .metrics import is_number

FORMAT = 2  # 1 had no `weights_epoch`, no `sig_source` and no identity of a checkpoint


@dataclass(frozen=True)
class Manifest:
    """What stands in `export.json`, which is written last."""

    sig: Optional[str]  # Dora's signature of the experiment
    solver: Optional[str]  # the `solver` of its configuration
    epoch: Optional[int]  # number of epochs trained, if that is known
    weights: str  # section of the checkpoint that the weights come from
    why: str  # why from there
    tensors: int  # number of tensors
    parameters: int  # number of elements in them; tied ones count once
    dtypes: Mapping[str, int]  # number of tensors by element type
    files: list[WrittenFile]  # name, bytes and sha256 of each file
    checkpoint: Optional[Mapping[str, Any]]  # as `Source`; None for a living solver and for `bands`
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
        return " ".join(filter(None, (self.weights, self.epochs_text)))

    @property
    def epochs_text(self) -> str:
        """Of which epoch the weights are, and after how many, for a message; empty if that is not known."""
        of_epoch = "" if self.weights_epoch is None else f"of epoch {self.weights_epoch}, "
        return "" if self.epoch is None else f"{of_epoch}after {self.epoch} epochs"

    @property
    def release_format(self) -> str:
        """The format of the release, which is AudioCraft's where nothing else is said."""
        return str(self.options.get("format", "audiocraft"))

    @property
    def nbytes(self) -> int:
        """Size of the files of the release, in bytes."""
        return sum(file.bytes for file in self.files)

    def nonfinite_in(self, *names: str) -> int:
        """Number of NaN and infinite values in some of its files, or in all without names."""
        return sum(sum(self.nonfinite.get(name, {}).values()) for name in names or self.nonfinite)

    def is_complete(self, folder: Path) -> bool:
        """Whether its files are in a folder, by their sizes; they are not read."""
        try:
            return all(os.path.getsize(folder / file.name) == file.bytes for file in self.files)
        except (OSError, ValueError):
            return False

    @property
    def is_identified(self) -> bool:
        """Whether it identifies the content of each checkpoint; not in format 1, nor for a living solver."""
        sources = [self.checkpoint] if self.bands is None else [band.get("checkpoint") for band in self.bands]
        return all(isinstance(source, dict) and "identity" in source for source in sources)

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
    """Whether every value has the right type: the checksum is no authentication, and all readers rely on this."""
    return (
        _is_count(manifest.format) and 0 < manifest.format <= FORMAT and _fits(vars(manifest), _SHAPE)
        and bool(manifest.files) and all(_fits(vars(file), _FILE) for file in manifest.files)
        and len({file.name for file in manifest.files}) == len(manifest.files))


def _fits(value: Any, shape: Any) -> bool:
    """Whether plain data has a shape: a type, None, a function that accepts it, or one of several shapes (a tuple).

    `[shape]` is a list, `{str: shape}` a mapping, `{"key": shape, ...}` a mapping with these keys, where others may be.
    """
    if isinstance(shape, tuple):
        return any(_fits(value, each) for each in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and (all(_fits(item, shape[str]) for item in value.values()) if str in shape
                                            else all(_fits(value.get(key), inner) for key, inner in shape.items()))
    if shape is None or isinstance(shape, type):
        return value is None if shape is None else isinstance(value, shape)
    return bool(shape(value))


def _is_count(value: Any) -> bool:
    """Whether it is a number of things, such as no file or training has more of: a float can hold it."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_best(value: Any) -> bool:
    """Whether it is what `Selection.describe` gives; without a metric, it has no value."""
    if not _fits(value, {"epoch": _is_count, "valid": {str: is_number}, "metric": (str, None)}):
        return False
    metric = value.get("metric")
    return metric is None or is_number(value["value"] if "value" in value else value["valid"].get(metric))


_FILE = {"name": str, "bytes": _is_count, "sha256": str}
_PART: Mapping[str, Any] = {  # of a manifest, or of one of its bands
    "sig": (str, None), "epoch": (_is_count, None), "weights": str, "why": str, "checkpoint": (dict, None),
    "config": str, "best": (_is_best, None), "weights_epoch": (_is_count, None),
}  # what is in a source, and `config_sha256`, is only compared
_SHAPE: Mapping[str, Any] = {
    **_PART, "solver": (str, None), "tensors": _is_count, "parameters": _is_count, "dtypes": {str: _is_count},
    "codec": ({"sig": (str, None), "pretrained": (str, None), "checkpoint": (dict, None), "file": (dict, None)}, None),
    "options": dict, "warnings": [str], "versions": {str: str}, "time": str, "nonfinite": {str: {str: _is_count}},
    "bands": ([_PART], None), "sig_source": (str, None), "family": (str, None),
}


def _checksum(values: Mapping[str, Any]) -> str:
    return sha256(json.dumps(values).encode()).hexdigest()


def _to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def _read_text(path: Path) -> str:
    if os.path.lexists(path) and not path.is_file():  # reading a pipe would wait for its writer
        raise OSError(errno.EINVAL, "it is no file")
    if os.path.getsize(path) > MAX_MANIFEST_BYTES:
        raise OSError(errno.EFBIG, "it is too large")
    return path.read_bytes().decode("utf-8")
