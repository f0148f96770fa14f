"""A release as plain data: its files, its manifest, and the report of making it."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Optional, Union

from ..checkpoint.tensor import LazyTensor
from ..errors import ReleaseError, readable_size, reason

MANIFEST = "export.json"
RELEASE_FOLDER = "export"  # of an XP folder
FORMAT = 1
MOST_METRICS, MOST_NAME = 1000, 200  # of an epoch, and characters; whoever has more reads them in the checkpoint
MOST_TEXT = 1 << 24  # bytes of a manifest


@dataclass(frozen=True)
class Tensors:
    """What a file of safetensors holds, before it is written.

    Args:
        tensors: described, not loaded, contiguous, by name.
        metadata: texts of the header.
    """

    tensors: Mapping[str, LazyTensor]
    metadata: Mapping[str, str]


Content = Union[Mapping[Any, Any], Tensors, str, bytes]


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release, before it is written.

    Args:
        name: in the release folder.
        content: what `torch.load` will give, with tensors described, not loaded; the same of safetensors; a text or
            bytes are written as they are.
    """

    name: str
    content: Content


class AttrDict(dict[str, Any]):
    """A mapping whose names are attributes as well once it is loaded, as OmegaConf's are, but without OmegaConf.

    It is written as an OrderedDict that has them: `torch.load(weights_only=True)` gives no other such type.
    """

    @classmethod
    def of(cls, value: Any) -> Any:
        """Plain data with every mapping in it made so."""
        if isinstance(value, dict):
            return cls({key: cls.of(item) for key, item in value.items()})
        return [cls.of(item) for item in value] if isinstance(value, list) else value

    @property
    def names(self) -> list[str]:
        """The keys that can be attributes; those of dict's own methods cannot."""
        return [key for key in self
                if isinstance(key, str) and not key.startswith("__") and not hasattr(OrderedDict, key)]


def model_content(state: Mapping[str, Any], config: str, version: str) -> dict[str, Any]:
    """The four keys of an exported model, as `audiocraft.utils.export` names and orders them.

    Args:
        state: tensors by name.
        config: `xp.cfg` as YAML.
        version: AudioCraft version tag.
    """
    return {"best_state": state, "xp.cfg": config, "version": version, "exported": True}


def reference_content(pretrained: str, version: str) -> dict[str, Any]:
    """A compression model by its public name, as `export_pretrained_compression_model` writes it."""
    return {"pretrained": pretrained, "exported": True, "version": version}


@dataclass(frozen=True)
class WrittenFile:
    """One file of a release, as written.

    Args:
        name: in the release folder.
        bytes: its size.
        sha256: of its bytes.
    """

    name: str
    bytes: int
    sha256: str


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


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Args:
        folder: the release folder.
        manifest: of the release in it.
        written: False if that very release was there already, and nothing was written.
        url: where it is on the Hub, if it was pushed.
    """

    folder: Path
    manifest: Manifest
    written: bool = True
    url: Optional[str] = None

    @property
    def files(self) -> list[Path]:
        """The paths of the release's files, without the manifest."""
        return [self.folder / file.name for file in self.manifest.files]

    @property
    def bytes(self) -> int:
        """Size of the release's files, in bytes."""
        return sum(file.bytes for file in self.manifest.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        where = {"url": self.url} if self.url else {}
        return {"folder": str(self.folder), "written": self.written, **where, **self.manifest.to_dict()}

    @property
    def done(self) -> str:
        """What was done, in a word."""
        return "exported" if self.written else "already exported"

    def __str__(self) -> str:
        manifest = self.manifest
        return (f"{manifest.name} {self.done}: {manifest.weights} after {manifest.epoch} epochs, "
                f"{manifest.tensors} tensors, {readable_size(self.bytes)} in {self.folder}"
                f"{f', pushed to {self.url}' if self.url else ''}")


@dataclass(frozen=True)
class Plan:
    """What an export would do.

    Args:
        folder: the release folder.
        manifest: of the release, but for the files.
        files: by name, how many bytes each would have, but for some kB that its container adds.
        is_there: whether that very release is there already, by its manifest and the sizes of its files.
    """

    folder: Path
    manifest: Manifest
    files: Mapping[str, int]
    is_there: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        files = [{"name": name, "bytes": nbytes} for name, nbytes in self.files.items()]
        values = {name: value for name, value in self.manifest.to_dict().items() if name not in ("time", "checksum")}
        return {"folder": str(self.folder), "is_there": self.is_there, **values, "files": files}

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
        return (f"{self.manifest.name} {self.done}: {self.manifest.weights} after {self.manifest.epoch} epochs "
                f"({self.manifest.why}), {self.sizes} in {self.folder}")


def best_epoch(history: Sequence[Any], metrics: Sequence[str]) -> Optional[dict[str, Any]]:
    """The epoch with the lowest validation metric, as AudioCraft's `update_best_state_from_stage` has it.

    Args:
        history: the metrics by stage, one entry an epoch.
        metrics: names in the `valid` stage; the first that is there counts; without any, the last epoch is taken.
    """
    stages = [epoch.get("valid") if isinstance(epoch, dict) else None for epoch in history]
    found = [(index, valid) for index, valid in enumerate(stages, 1) if isinstance(valid, dict)]
    if not found:
        return None
    for metric in metrics:
        scored = [(valid[metric], index, valid) for index, valid in found if is_number(valid.get(metric))]
        if scored:
            _, index, valid = min(scored, key=lambda entry: (entry[0], -entry[1]))  # the last of equals
            return {"metric": metric, "epoch": index, "valid": {**_numbers(valid), metric: valid[metric]}}
    index, valid = found[-1]
    return {"metric": None, "epoch": index, "valid": _numbers(valid)}


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


def is_number(value: Any) -> bool:
    """Whether a metric is a number, finite, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _numbers(metrics: Mapping[Any, Any]) -> dict[str, float]:
    return {str(name): value for name, value in islice(metrics.items(), MOST_METRICS)
            if is_number(value) and len(str(name)) <= MOST_NAME}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
