"""Determine whether the release in a folder is up to date, stale, damaged or missing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Optional

from ..checkpoint.zip_reader import TorchZipReader
from ..errors import CheckpointError, split_warning
from ..experiment.xp import CHECKPOINT_FILE, MANIFEST, XPS, AnyPath, Experiment, checkpoint_option, is_denied
from ..options import ExportOptions, describe_options, other_options
from ..storage.durable_file import WrittenFile
from ..storage.file_version import same_mtime
from ..storage.writer import NONE
from .content import Content, text_bytes
from .installed_audiocraft import UNKNOWN_VERSION
from .manifest import Manifest

MISSING, UP_TO_DATE, STALE, DAMAGED = "none", "up to date", "stale", "damaged"
UNREADABLE = "unreadable"  # its permissions do not allow it to be read
UNKNOWN_EPOCH = "unknown-epoch"  # the code of the warning about the option `metric`


@dataclass(frozen=True)
class ReleaseStatus:
    """The state of a release folder."""

    state: str  # MISSING, UP_TO_DATE, STALE, DAMAGED or UNREADABLE
    manifest: Optional[Manifest] = None  # the manifest of the release, if it is valid
    options: Mapping[str, Any] = field(default_factory=dict)  # that are not the wanted ones, if up to date

    @property
    def is_wanted(self) -> bool:
        """True if the release is up to date and made with the same options."""
        return self.state == UP_TO_DATE and not self.options

    @property
    def key(self) -> Optional[str]:
        """The state as a value of JSON: `none`, `up_to_date`, `other_options`, `stale` or `damaged`; None if unknown.

        The state of an unreadable release is unknown.
        """
        if self.state == UNREADABLE:
            return None
        return "other_options" if self.options else self.state.replace(" ", "_")

    @property
    def made_with(self) -> dict[str, Any]:
        """The options that make the release again, except for an unknown version; empty without a valid manifest."""
        if self.manifest is None:
            return {}
        options = {each.name: self.manifest.options[each.name] for each in ExportOptions.export_fields()
                   if each.name in self.manifest.options}
        if options.get("version") == UNKNOWN_VERSION:
            del options["version"]
        made_of = checkpoint_option(str(self.manifest.source.get("name")))
        return {**options, "checkpoint": made_of} if made_of else options

    @property
    def nonfinite(self) -> Optional[int]:
        """Number of NaN and infinite values according to the manifest; None if the manifest cannot be read."""
        return self.manifest.nonfinite_in() if self.manifest else None

    def __str__(self) -> str:
        return describe_state(self.state) + (f", made with {describe_options(self.options)}" if self.options else "")


def describe_state(state: str) -> str:
    """Return a state as shown to people."""
    return "missing" if state == MISSING else state


@dataclass(frozen=True)
class Wanted:
    """The release that an export would make."""

    manifest: Manifest  # complete except for `files`
    files: Mapping[str, Content]  # content of each file, by name
    metric: Optional[str]  # the option `metric`; without it, an existing manifest may know more about the best epoch
    # Adds the identity of the checkpoint to a manifest without one, if the release can be compared with the checkpoint.
    # Returns None if the release was made from another checkpoint.
    identify: Callable[[Manifest], Optional[Manifest]]


def release_status(folder: Path, xp_folder: Path, *, opens: bool = True, name: Optional[str] = None) -> ReleaseStatus:
    """Compare the release in a folder with its own checkpoint, and its options with the default ones.

    Only its manifest and the sizes of its files are read.

    Args:
        folder: the release folder.
        xp_folder: the folder of the source checkpoint; a deleted checkpoint counts as unchanged.
        opens: whether to compare the identity of the checkpoint even if its size and mtime are the recorded ones.
        name: file name of the checkpoint that an export would use; None is the source of the release.
    """
    manifest = Manifest.load_or_none(folder)
    if manifest is None or not manifest.is_complete(folder):
        return ReleaseStatus(_state_without_manifest(folder), manifest)
    if _is_of_another_experiment(manifest, xp_folder):
        return ReleaseStatus(STALE, manifest)
    options = other_options(manifest.options, {"version": manifest.options.get("version")})  # any version is equal
    made_of = name or _source_name(manifest)
    if made_of not in (name, CHECKPOINT_FILE):
        options["checkpoint"] = checkpoint_option(made_of) or made_of
    return _status(manifest, options, _has_unchanged_sources(manifest, xp_folder, made_of, opens))


def status_before_export(folder: Path, xp_folder: Path, wanted: Wanted) -> ReleaseStatus:
    """Compare the release in a folder with the one that an export would make, as `release_status`."""
    manifest = Manifest.load_or_none(folder)
    if manifest is None or not manifest.is_complete(folder):
        return ReleaseStatus(_state_without_manifest(folder), manifest)
    identified = wanted.identify(manifest)
    if identified is None:
        return ReleaseStatus(STALE, manifest)
    options = other_options(identified.options, wanted.manifest.to_dict()["options"])
    if wanted.metric and not _says_the_same_of_metrics(identified, wanted.manifest):
        options["metric"] = (identified.known_best or {}).get("metric")
    if not _is_of_another_file(identified, wanted.manifest):
        return _status(identified, options, _is_made_of_the_same(identified, wanted, options))
    made_of = _source_name(identified)
    options["checkpoint"] = checkpoint_option(made_of) or made_of
    return _status(identified, options, _has_unchanged_sources(identified, xp_folder, made_of, opens=True))


def _status(manifest: Manifest, options: Mapping[str, Any], is_current: bool) -> ReleaseStatus:
    return ReleaseStatus(UP_TO_DATE, manifest, options) if is_current else ReleaseStatus(STALE, manifest)


def _state_without_manifest(folder: Path) -> str:
    """Return the state of a release folder without a valid manifest, or whose files do not match it."""
    from .owned_files import has_release  # imports omegaconf, which a report does not need
    if is_denied(folder / MANIFEST):
        return UNREADABLE
    return DAMAGED if has_release(folder) else MISSING


def is_read_back(manifest: Manifest, options: ExportOptions) -> bool:
    """Return whether a release was read back when it was written, as far as the options ask for that."""
    return manifest.read_back != NONE or options.verify == NONE


def _is_of_another_experiment(manifest: Manifest, xp_folder: Path) -> bool:
    """Return whether a release was made from another experiment than the one that Dora stored in this folder."""
    if manifest.sig is None or manifest.sig == xp_folder.name and not os.path.islink(xp_folder):
        return False
    xp = Experiment(xp_folder, None)
    return xp.name_in_xps is not None and xp.stored_sig not in (None, manifest.sig)


def _source_name(manifest: Manifest) -> str:
    return str(manifest.source.get("name", CHECKPOINT_FILE))


def _has_unchanged_sources(manifest: Manifest, xp_folder: Path, made_of: str, opens: bool) -> bool:
    """Return whether the checkpoint `made_of` and the compression model are still those of a release."""
    return _is_unchanged(manifest.source, os.path.join(xp_folder, made_of), opens) \
        and _is_codec_unchanged(manifest.codec or {}, xp_folder, opens)


def _is_unchanged(source: Mapping[str, Any], path: AnyPath, opens: bool) -> bool:
    """Return whether a file is still the checkpoint that a manifest names; True if that cannot be determined."""
    if not source:
        return True
    try:
        now = os.stat(path)
    except (OSError, ValueError):
        return True
    has_same_stat = _has_size_and_time(source, now.st_size, now.st_mtime_ns)
    if "identity" not in source or has_same_stat and not opens:
        return has_same_stat
    try:
        return now.st_size == source.get("bytes") and TorchZipReader(Path(path)).identity == source["identity"]
    except CheckpointError as exc:
        return exc.code == "read-failed"


def _is_codec_unchanged(codec: Mapping[str, Any], xp_folder: Path, opens: bool) -> bool:
    """Check, as `_is_unchanged`, a compression model that is an experiment of the same Dora folder."""
    source = codec.get("checkpoint") or {}
    if not source:
        return True
    folder = Experiment(xp_folder, None).dora_dir / XPS / str(codec.get("sig"))
    return _is_unchanged(source, folder / str(source.get("name")), opens)


def _has_size_and_time(source: Mapping[str, Any], nbytes: int, mtime_ns: int) -> bool:
    """Return whether the recorded size and mtime of a source are equal to the given ones."""
    then = source.get("mtime_ns")
    return source.get("bytes") == nbytes and isinstance(then, int) and same_mtime(mtime_ns, then)


def _says_the_same_of_metrics(existing: Manifest, wanted: Manifest) -> bool:
    """Return whether a manifest has the same epoch, metrics and warning as an export with the option `metric`."""
    warnings = {warning for warning in wanted.warnings if split_warning(warning)[0] == UNKNOWN_EPOCH}
    return (existing.weights_epoch, existing.best) == (wanted.weights_epoch, wanted.best) \
        and warnings <= {*existing.warnings}


def _is_of_another_file(existing: Manifest, wanted: Manifest) -> bool:
    """Return whether a release was made from another checkpoint of the same experiment."""
    one, other = existing.checkpoint, wanted.checkpoint
    return one is not None and other is not None and existing.sig == wanted.sig \
        and one.get("name") != other["name"] and one.get("identity") != other["identity"]


def _is_made_of_the_same(existing: Manifest, wanted: Wanted, options: Mapping[str, Any]) -> bool:
    """Return whether a release has the sources that an export would use, apart from options that differ.

    Always false for the release of a solver in memory, whose state has no identity.
    """
    names = ["sig", "checkpoint"]
    names += [name for name, option in {"codec": "codec", "config_sha256": "scrub"}.items() if option not in options]
    parts, others = (manifest.bands or [manifest.to_dict()] for manifest in (existing, wanted.manifest))
    is_same = wanted.manifest.is_identified and len(parts) == len(others) and all(
        _is_same(part.get(name), other.get(name)) for part, other in zip(parts, others) for name in names)
    return is_same and (bool(options) or [file.name for file in existing.model_files] == [*wanted.files] and all(
        _has_same_text(file, wanted.files[file.name]) for file in existing.model_files))


def _is_same(existing: Any, wanted: Any) -> bool:
    """Compare plain data; files are equal by identity, or by name, size and mtime if one has no identity."""
    if not (isinstance(existing, dict) and isinstance(wanted, dict)):
        return bool(existing == wanted)
    if "identity" in wanted and "identity" not in existing:
        return existing.get("name") == wanted["name"] and _has_size_and_time(
            existing, wanted["bytes"], wanted["mtime_ns"])
    ignored = {"name", "mtime_ns", "sha256"} if "identity" in wanted else set()
    return all(_is_same(existing.get(name), wanted.get(name)) for name in {*existing, *wanted} - ignored)


def _has_same_text(file: WrittenFile, content: Content) -> bool:
    """Compare the checksum of a text file, such as a tokenizer, with its wanted content; tensors are not compared."""
    data = text_bytes(content)
    return data is None or file.sha256 == sha256(data).hexdigest()
