"""The manifest of a release, `export.json`: its files, its source and how it was made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Optional, cast

from ..errors import ReleaseError, listing, permission_hint, plural, reason
from ..experiment.xp import MANIFEST
from ..storage.durable_file import WrittenFile
from ..storage.small_file import read_small_file
from .limits import MAX_MANIFEST_BYTES
from .metrics import is_number

SIGNATURE = "model.sig"  # name of the signature in a release folder
ATTESTATIONS = PROVENANCE, TEST_RESULT = "provenance.intoto.json", "test-result.intoto.json"
FILES_ABOUT_MODEL = (MANIFEST, SIGNATURE, *ATTESTATIONS)
CARD_FILES = CARD_FILE, CURVE_FILE = "README.md", "training-curve.png"  # the model card, not part of the manifest
FORMAT = 2  # format 1 has no `weights_epoch`, `sig_source`, `family` and identity of the checkpoint
_LINE_BREAK = re.compile(r"\n *")


@dataclass(frozen=True)
class Manifest:
    """The values of `export.json`, which is written last."""

    sig: Optional[str]  # Dora's signature of the experiment; None if unknown
    solver: Optional[str]  # `solver` of the configuration
    epoch: Optional[int]  # number of trained epochs; None if unknown
    weights: str  # the section of the checkpoint that was released
    why: str  # why this section was selected
    tensors: int  # number of tensors
    parameters: int  # number of elements in the tensors; tied tensors count once
    dtypes: Mapping[str, int]  # number of tensors by dtype
    files: list[WrittenFile]  # name, bytes and sha256 of each file
    checkpoint: Optional[Mapping[str, Any]]  # the file, as `Source`; None for a solver in memory and for `bands`
    codec: Optional[Mapping[str, Any]]  # source of the compression model, for language models
    config: str  # source of the configuration: `checkpoint`, `config` (the option), `.hydra/config.yaml` or `solver`
    config_sha256: Optional[str]  # checksum of the released configuration; None for `bands`
    best: Optional[Mapping[str, Any]]  # metrics of the released best epoch, as `BestRule.describe`
    options: Mapping[str, Any]  # options of the export
    warnings: list[str]  # `code: text`; without codes in releases of earlier versions
    versions: Mapping[str, str]  # AudioCraft's version tag, and the versions of the packages that made the release
    time: str  # time of the export, UTC, ISO 8601
    nonfinite: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # NaN and Inf by file and tensor
    bands: Optional[list[Mapping[str, Any]]] = None  # for several experiments: some of these fields for each
    weights_epoch: Optional[int] = None  # epoch of the weights; None if unknown
    sig_source: Optional[str] = None  # source of the signature: `checkpoint`, `XP folder` or `solver`
    family: Optional[str] = None  # family of the model: the name of a solver of AudioCraft, or `general`
    read_back: Optional[str] = None  # where the files were read back from: `device`, `cache`, `none`; None if unknown
    content_digest: Optional[str] = None  # identity of the weights, as `formats.digest`; None if it was not asked for
    git: Optional[Mapping[str, Any]] = None  # the code of the training, as of `Experiment.git`; None if unknown
    format: int = FORMAT  # version of the manifest format

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON with its checksum; NaN and infinity become null."""
        values = json.loads(json.dumps(asdict(self)), parse_constant=lambda name: None)
        return {**values, "checksum": _checksum(json.dumps(values))}

    @property
    def text(self) -> str:
        """The JSON in `export.json`."""
        return _to_json(self.to_dict())

    @property
    def name(self) -> str:
        """The name of the release in messages: the signature of its experiment, or the signatures of its bands."""
        return ", ".join(band.get("sig") or "checkpoint" for band in self.bands or [{"sig": self.sig}])

    @property
    def source(self) -> Mapping[str, Any]:
        """The values of `checkpoint`; empty without one."""
        return self.checkpoint or {}

    @property
    def known_best(self) -> Optional[Mapping[str, Any]]:
        """`best` if it describes the released epoch; in format 1 it was the epoch with the lowest loss."""
        return self.best if self.best and self.best["epoch"] == self.weights_epoch else None

    @property
    def weights_text(self) -> str:
        """The section and the epoch of the released weights, for a message."""
        return " ".join(filter(None, (self.weights, self.epochs_text)))

    @property
    def epochs_text(self) -> str:
        """The epoch of the weights and the number of trained epochs, for a message; empty if unknown."""
        of_epoch = "" if self.weights_epoch is None else f"of epoch {self.weights_epoch}, "
        return "" if self.epoch is None else f"{of_epoch}after {self.epoch} {plural(self.epoch, 'epoch')}"

    @property
    def release_format(self) -> str:
        """The format of the release; AudioCraft's is the default."""
        return str(self.options.get("format", "audiocraft"))

    @property
    def model_files(self) -> list[WrittenFile]:
        """The files without the attestations, which are about these files."""
        return [file for file in self.files if file.name not in ATTESTATIONS]

    @property
    def nbytes(self) -> int:
        """Total size of the release files, in bytes."""
        return sum(file.bytes for file in self.files)

    def nonfinite_in(self, *names: str) -> int:
        """Return the number of NaN and infinite values in the named files, or in all files without names."""
        return sum(sum(self.nonfinite.get(name, {}).values()) for name in names or self.nonfinite)

    def is_complete(self, folder: Path) -> bool:
        """Return whether all files are in a folder with the right size; they are not read."""
        try:
            return all(os.path.getsize(os.path.join(folder, file.name)) == file.bytes for file in self.files)
        except (OSError, ValueError):
            return False

    @property
    def is_identified(self) -> bool:
        """True if the manifest has a content hash of each checkpoint; false in format 1 and for a solver in memory."""
        return all(isinstance(source, dict) and "identity" in source for source in self._checkpoints)

    @property
    def lacks_source_digest(self) -> bool:
        """True if the option `source_digest` would add the sha256 of a checkpoint file."""
        sources = [*self._checkpoints, *map((self.codec or {}).get, ("checkpoint", "file"))]
        return any(isinstance(source, dict) and "sha256" not in source for source in sources)

    @property
    def _checkpoints(self) -> list[Any]:
        return [self.checkpoint] if self.bands is None else [band.get("checkpoint") for band in self.bands]

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a release folder.

        Raises:
            ReleaseError: if the manifest is missing, invalid, unreadable, of a newer format, or was changed.
        """
        path = os.path.join(folder, MANIFEST)
        try:
            text = read_small_file(path, MAX_MANIFEST_BYTES).decode()
            values = json.loads(text)
            checksum = values.pop("checksum")
            if isinstance(values["format"], int) and values["format"] > FORMAT:
                raise ReleaseError("unknown-format", f"{path} has format {values['format']}, which is newer than this "
                                   f"audiocraft-export supports ({FORMAT})", "upgrade audiocraft-export")
            changed = not _is_written(text, values, checksum)
            unknown = values.keys() - _KEYS
            if unknown and not changed:
                raise ReleaseError("unknown-format", f"{path} has keys of a later version of audiocraft-export "
                                   f"({listing(sorted(unknown))})", "upgrade audiocraft-export")
            manifest = cls(**{**values, "files": [WrittenFile(**file) for file in values["files"]]})
            if not _is_valid(manifest):
                raise TypeError("unexpected types")
        except FileNotFoundError as exc:
            what = "a dangling symlink" if os.path.islink(path) else "missing"
            raise ReleaseError("invalid-manifest", f"{path} is {what}", "export again") from exc
        except OSError as exc:
            raise ReleaseError("read-failed", f"Cannot read {path}: {reason(exc)}", permission_hint(exc)) from exc
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise ReleaseError("invalid-manifest", f"{path} is not a valid release manifest", "export again") from exc
        if changed:
            raise ReleaseError("invalid-manifest", f"{path} was changed after it was written (its checksum differs)",
                               "export again")
        return manifest

    @staticmethod
    def unverified(folder: Path) -> dict[str, Any]:
        """Return the values of a manifest without checking them; empty if it cannot be read."""
        try:
            values = json.loads(read_small_file(os.path.join(folder, MANIFEST), MAX_MANIFEST_BYTES).decode())
        except (OSError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    @classmethod
    def unverified_files(cls, folder: Path) -> list[WrittenFile]:
        """Return the files of a manifest without checking it; empty if it cannot be read."""
        try:
            return [WrittenFile(str(file["name"]), file["bytes"], file["sha256"])
                    for file in cls.unverified(folder)["files"]]
        except (TypeError, KeyError):
            return []

    @classmethod
    def load_or_none(cls, folder: Path) -> Optional[Manifest]:
        """Read the manifest as `load`; None if it is missing or invalid."""
        try:
            return cls.load(folder)
        except ReleaseError:
            return None


_KEYS = frozenset(each.name for each in fields(Manifest))


def _is_valid(manifest: Manifest) -> bool:
    """Return whether every value has the right type: the checksum does not authenticate, so values may be hostile."""
    return (
        _is_count(manifest.format) and 0 < manifest.format <= FORMAT and _has_shape(vars(manifest))
        and bool(manifest.files) and all(_is_file(vars(file)) for file in manifest.files)
        and len({file.name for file in manifest.files}) == len(manifest.files))


def _checker(shape: Any) -> Callable[[Any], bool]:
    """Return a function that tells whether plain data has a shape.

    A shape is a type, a predicate, or a tuple of alternative shapes. `[shape]` is a list, `{str: shape}` a mapping with
    any keys, and `{"key": shape, ...}` a mapping with at least these keys.
    """
    if isinstance(shape, type):
        return lambda value: isinstance(value, shape)
    if isinstance(shape, tuple):
        one, other = map(_checker, shape)
        return lambda value: one(value) or other(value)
    if isinstance(shape, list):
        each = _checker(shape[0])
        return lambda value: isinstance(value, list) and all(map(each, value))
    if not isinstance(shape, dict):
        return cast(Callable[[Any], bool], shape)
    checks = {key: _checker(inner) for key, inner in shape.items()}
    if str in checks:
        return lambda value: isinstance(value, dict) and all(map(checks[str], value.values()))
    return lambda value: isinstance(value, dict) and all(check(value.get(key)) for key, check in checks.items())


def _is_count(value: Any) -> bool:
    """Return whether a value is an integer from 0 to 2**63 - 1; larger ones may be too large for a float."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_best(value: Any) -> bool:
    """Return whether a value has the structure that `BestRule.describe` returns; the metric may be missing."""
    if not _is_epoch(value):
        return False
    metric = value.get("metric")
    return metric is None or is_number(value["value"] if "value" in value else value["valid"].get(metric))


_NONE = type(None)
_PART: Mapping[str, Any] = {  # shared by a manifest and its bands
    "sig": (str, _NONE), "epoch": (_is_count, _NONE), "weights": str, "why": str, "checkpoint": (dict, _NONE),
    "config": str, "best": (_is_best, _NONE), "weights_epoch": (_is_count, _NONE),
    "git": ({"commit": str, "dirty": bool}, _NONE),
}  # `config_sha256` and the values in a source are only compared, so any type is safe.
_has_shape = _checker({
    **_PART, "solver": (str, _NONE), "tensors": _is_count, "parameters": _is_count, "dtypes": {str: _is_count},
    "codec": ({"sig": (str, _NONE), "pretrained": (str, _NONE), "checkpoint": (dict, _NONE), "file": (dict, _NONE)},
              _NONE),
    "options": dict, "warnings": [str], "versions": {str: str}, "time": str, "nonfinite": {str: {str: _is_count}},
    "bands": ([_PART], _NONE), "sig_source": (str, _NONE), "family": (str, _NONE), "read_back": (str, _NONE),
    "content_digest": (str, _NONE),
})
_is_file = _checker({"name": str, "bytes": _is_count, "sha256": str})
_is_epoch = _checker({"epoch": _is_count, "valid": {str: is_number}, "metric": (str, _NONE)})


def _is_written(text: str, values: Mapping[str, Any], checksum: Any) -> bool:
    """Return whether a text is the JSON of these values and their checksum, apart from its indentation.

    `json.dumps` is several times as fast without `indent`, which is not part of the checksum.
    """
    compact = json.dumps(values, allow_nan=False)
    joined = _LINE_BREAK.sub("", text.replace(",\n", ", \n"))  # strings in JSON have no line breaks
    return checksum == _checksum(compact) and joined == f'{compact[:-1]}, "checksum": "{checksum}"}}'


def _checksum(compact: str) -> str:
    return sha256(compact.encode()).hexdigest()


def _to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"
