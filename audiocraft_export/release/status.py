"""The state of a release folder: whether its files are there, and whether it is what an export would make."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Optional

from ..checkpoint.zip_reader import TorchZipReader
from ..errors import CheckpointError
from ..experiment.xp import CHECKPOINT_FILE, CHECKPOINT_NAME, MANIFEST, XPS, Experiment
from ..options import ExportOptions
from ..storage.durable_file import WrittenFile
from ..storage.file_version import same_mtime
from .content import Content, text_bytes
from .manifest import Manifest

NONE, UP_TO_DATE, STALE, DAMAGED = "none", "up to date", "stale", "damaged"
_DEFAULTS = asdict(ExportOptions())


@dataclass(frozen=True)
class ReleaseStatus:
    """The state of a release folder."""

    state: str  # NONE, UP_TO_DATE, STALE or DAMAGED
    manifest: Optional[Manifest] = None  # of the release, if it can be read
    options: Mapping[str, Any] = field(default_factory=dict)  # of an up-to-date one: those that an export would not use

    @property
    def is_wanted(self) -> bool:
        """Whether it is the very release that an export would make."""
        return self.state == UP_TO_DATE and not self.options

    @property
    def nonfinite(self) -> Optional[int]:
        """Number of its NaN and infinite values, by its manifest; None if that cannot be read."""
        return self.manifest.nonfinite_in() if self.manifest else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"release_status": self.state, "release_options": dict(self.options),
                "release_nonfinite": self.nonfinite}

    def __str__(self) -> str:
        return f"{self.state}, made with {describe_options(self.options)}" if self.options else self.state


@dataclass(frozen=True)
class Wanted:
    """What an export would make."""

    manifest: Manifest  # without the files
    files: Mapping[str, Content]  # what they hold, by name
    metric: Optional[str]  # the option: without it, an existing manifest may know more of the best epoch
    # Completes a manifest that does not identify its checkpoint, if that can be compared; None if another one made it.
    identify: Callable[[Manifest], Optional[Manifest]]


def release_status(folder: Path, xp_folder: Path, *, opens: bool = True, name: Optional[str] = None,
                   wanted: Optional[Wanted] = None) -> ReleaseStatus:
    """The state of the release in a folder, whose own files are only looked at by size.

    Args:
        xp_folder: where the checkpoint lies that it was made of; one that is gone has not changed.
        opens: whether to read the identity of that checkpoint; otherwise its size and time decide.
        name: of the checkpoint that it must be of; None is the one that it was made of.
        wanted: what an export would make; None is anything, with the default options.
    """
    if not os.path.lexists(folder / MANIFEST):
        from .families.registry import OWN_NAMES  # imports omegaconf, which a report does not need
        return ReleaseStatus(DAMAGED if any(os.path.lexists(folder / name) for name in OWN_NAMES) else NONE)
    manifest = Manifest.load_or_none(folder)
    if manifest is None or not manifest.is_complete(folder):
        return ReleaseStatus(DAMAGED, manifest)
    identified = wanted.identify(manifest) if wanted else manifest
    if identified is None or wanted is None and _is_of_another_experiment(manifest, xp_folder):
        return ReleaseStatus(STALE, manifest)
    manifest = identified
    options = _other_options(manifest, wanted)
    if wanted is None or _is_of_another_file(manifest, wanted.manifest):
        source = manifest.checkpoint or {}
        made_of = name or str(source.get("name", CHECKPOINT_FILE))
        is_current = _is_unchanged(source, xp_folder / made_of, opens) \
            and _is_codec_unchanged(manifest.codec or {}, xp_folder, opens)
        if wanted is not None or made_of not in (name, CHECKPOINT_FILE):
            match = CHECKPOINT_NAME.fullmatch(made_of)
            options["checkpoint"] = match["name"] if match else made_of
    else:
        is_current = _is_made_of_the_same(manifest, wanted, options)
    return ReleaseStatus(UP_TO_DATE, manifest, options) if is_current else ReleaseStatus(STALE, manifest)


def describe_options(options: Mapping[str, Any]) -> str:
    """Options as they are given to an export, for a message."""
    shown = {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in options.items()}
    return ", ".join(f"{name}={'null' if value is None else value}" for name, value in shown.items())


def _is_of_another_experiment(manifest: Manifest, xp_folder: Path) -> bool:
    """Whether a release is of another experiment than the one that Dora has stored in this folder."""
    if manifest.sig in (None, Path(os.path.realpath(xp_folder)).name):  # which needs no file of Dora
        return False
    return Experiment(xp_folder, None).stored_sig not in (None, manifest.sig)


def _is_unchanged(source: Mapping[str, Any], path: Path, opens: bool) -> bool:
    """Whether a file is still the checkpoint that a manifest names, as far as both are known."""
    if not source:
        return True
    try:
        now = os.stat(path)
    except (OSError, ValueError):
        return True
    if opens and "identity" in source:
        try:
            return {"bytes": now.st_size, "identity": TorchZipReader(path).identity}.items() <= source.items()
        except CheckpointError:
            return False
    return _has_size_and_time(source, now.st_size, now.st_mtime_ns)


def _is_codec_unchanged(codec: Mapping[str, Any], xp_folder: Path, opens: bool) -> bool:
    """As `_is_unchanged`, for a compression model that is an experiment in the same Dora folder."""
    source = codec.get("checkpoint") or {}
    folder = Experiment(xp_folder, None).dora_dir / XPS / str(codec.get("sig"))
    return _is_unchanged(source, folder / str(source.get("name")), opens)


def _has_size_and_time(source: Mapping[str, Any], nbytes: int, mtime_ns: int) -> bool:
    then = source.get("mtime_ns")
    return source.get("bytes") == nbytes and isinstance(then, int) and same_mtime(mtime_ns, then)


def _other_options(existing: Manifest, wanted: Optional[Wanted]) -> dict[str, Any]:
    """The options of a release that are not those of an export; the default version is not known before one."""
    other = wanted.manifest.to_dict()["options"] if wanted else {"version": existing.options.get("version")}
    found = {name: existing.options.get(name, _DEFAULTS.get(name)) for name in {**existing.options, **other}}
    options = {name: value for name, value in found.items() if value != other.get(name, _DEFAULTS.get(name))}
    if wanted and wanted.metric and not _says_the_same_of_metrics(existing, wanted.manifest):
        options["metric"] = (existing.known_best or {}).get("metric")
    return options


def _says_the_same_of_metrics(existing: Manifest, wanted: Manifest) -> bool:
    """Whether a manifest has the epoch and the metrics of another one, and its warnings: one may be of the metric."""
    return (existing.weights_epoch, existing.best) == (wanted.weights_epoch, wanted.best) \
        and {*wanted.warnings} <= {*existing.warnings}


def _is_of_another_file(existing: Manifest, wanted: Manifest) -> bool:
    """Whether a release is of another checkpoint of the same experiment."""
    one, other = existing.checkpoint, wanted.checkpoint
    return one is not None and other is not None and existing.sig == wanted.sig \
        and one.get("name") != other["name"] and one.get("identity") != other["identity"]


def _is_made_of_the_same(existing: Manifest, wanted: Wanted, options: Mapping[str, Any]) -> bool:
    """Whether a release is made of what an export would use, but for other options; never that of a living solver."""
    names = ["sig", "checkpoint"]
    names += [name for name, option in {"codec": "codec", "config_sha256": "scrub"}.items() if option not in options]
    parts, others = (manifest.bands or [manifest.to_dict()] for manifest in (existing, wanted.manifest))
    is_same = wanted.manifest.is_identified and len(parts) == len(others) and all(
        _is_same(part.get(name), other.get(name)) for part, other in zip(parts, others) for name in names)
    return is_same and (bool(options) or [file.name for file in existing.files] == [*wanted.files] and all(
        _has_same_text(file, wanted.files[file.name]) for file in existing.files))


def _is_same(existing: Any, wanted: Any) -> bool:
    """Whether plain data is equal: files by their content, or by name, size and time where that is not identified."""
    if not (isinstance(existing, dict) and isinstance(wanted, dict)):
        return bool(existing == wanted)
    if "identity" in wanted and "identity" not in existing:
        return existing.get("name") == wanted["name"] and _has_size_and_time(
            existing, wanted["bytes"], wanted["mtime_ns"])
    ignored = {"name", "mtime_ns"} if "identity" in wanted else set()
    return all(_is_same(existing.get(name), wanted.get(name)) for name in {*existing, *wanted} - ignored)


def _has_same_text(file: WrittenFile, content: Content) -> bool:
    """Whether a file has a text that comes from elsewhere, such as a tokenizer; tensors are not read for that."""
    data = text_bytes(content)
    return data is None or file.sha256 == sha256(data).hexdigest()
