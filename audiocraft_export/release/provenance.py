"""What is known of a release: its manifest, but for the files, which are not written yet."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Optional

from ..errors import listing
from ..experiment.privacy.scrub import unmatched_patterns
from ..experiment.xp import HYDRA_CONFIG
from ..options import AUDIOCRAFT, ExportOptions
from ..storage.durable_file import WrittenFile
from ..version import __version__
from .compression_model import CompressionModel
from .families.registry import Family, family_of, solver_of
from .installed_audiocraft import audiocraft_version
from .manifest import Manifest
from .metrics import best_epoch
from .model import ReleaseModel

UNKNOWN_VERSION = "unknown"
BAND_FIELDS = ("sig", "epoch", "weights", "why", "checkpoint", "config", "config_sha256", "best")


def version_tag(asked: Optional[str] = None) -> str:
    """The AudioCraft version tag of a release: the one asked for, that of the installed AudioCraft, or `unknown`."""
    return asked or audiocraft_version() or UNKNOWN_VERSION


def build_manifest(model: ReleaseModel, options: ExportOptions, codec: Optional[CompressionModel] = None,
             notes: Iterable[str] = ()) -> Manifest:
    """The manifest of one model.

    Args:
        model: what is released.
        options: what the export was asked for.
        codec: the compression model beside it.
        notes: what its family finds odd about it.
    """
    checkpoint, family = model.checkpoint, family_of(model.checkpoint.config)
    return Manifest(
        sig=checkpoint.sig,
        solver=solver_of(model.config),
        epoch=len(checkpoint.history),
        weights=model.weights.source,
        why=model.weights.reason,
        tensors=len(model.weights.tensors),
        parameters=model.weights.parameters,
        dtypes=model.weights.dtypes,
        files=[],
        checkpoint=asdict(checkpoint.file.source) if checkpoint.file else None,
        codec=codec.origin if codec else None,
        config=checkpoint.config_source,
        config_sha256=sha256(model.config.text.encode()).hexdigest(),
        best=best_epoch(checkpoint.history, family.metrics),
        options={"weights": options.weights, "dtype": options.dtype, "codec": options.codec, "version": model.version,
                 **_later_options(options)},
        warnings=[*notes, *_warnings(model, codec, family), *_scrub_warnings(model, options)],
        versions={"audiocraft": model.version, "audiocraft-export": __version__,
                  "python": platform.python_version(), "torch": _version("torch"), "omegaconf": _version("omegaconf")},
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _later_options(options: ExportOptions) -> dict[str, Any]:
    """The options that came later: the manifests of before are those of the default."""
    names = ["scrub"] if options.format == AUDIOCRAFT else ["format", "max_shard_size", "scrub"]
    return {name: value for name, value in asdict(options).items() if name in names and value is not None}


def merge_manifests(drafts: Sequence[Manifest], notes: Iterable[str]) -> Manifest:
    """The manifest of a release made of several experiments.

    Args:
        drafts: one for each band, in their order.
        notes: what is odd about them together.
    """
    shared = [text for text in drafts[0].warnings if all(text in draft.warnings for draft in drafts)]
    others = [f"{draft.name}: {text}" for draft in drafts for text in draft.warnings if text not in shared]
    dtypes = sum((Counter(draft.dtypes) for draft in drafts), Counter[str]())
    return replace(
        drafts[0], sig=None, checkpoint=None, best=None, config_sha256=None,
        weights=", ".join(dict.fromkeys(draft.weights for draft in drafts)),
        why=", ".join(dict.fromkeys(draft.why for draft in drafts)),
        epoch=min(draft.epoch for draft in drafts),
        tensors=sum(draft.tensors for draft in drafts),
        parameters=sum(draft.parameters for draft in drafts),
        dtypes=dict(sorted(dtypes.items())),
        bands=[{name: value for name, value in draft.to_dict().items() if name in BAND_FIELDS} for draft in drafts],
        warnings=[*notes, *shared, *others],
    )


def with_files(draft: Manifest, files: list[WrittenFile], nonfinite: Mapping[str, Mapping[str, int]]) -> Manifest:
    """The manifest of what was written.

    Args:
        draft: what was known before.
        files: of the release.
        nonfinite: by file and tensor, how many numbers are NaN or infinite.
    """
    counts = {file: tensors for file, tensors in nonfinite.items() if tensors}
    return replace(draft, files=files, nonfinite=counts, warnings=[
        *draft.warnings, *(nonfinite_warning(file, tensors) for file, tensors in counts.items())])


def nonfinite_warning(file: str, tensors: Mapping[str, int]) -> str:
    """What to say of a file with numbers that are none.

    Args:
        file: its name.
        tensors: how many there are in which.
    """
    return f"{file} holds {sum(tensors.values())} numbers that are NaN or infinite, in {listing(list(tensors))}"


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except (PackageNotFoundError, OSError):  # what pip wrote about it cannot be read
        return UNKNOWN_VERSION


def _scrub_warnings(model: ReleaseModel, options: ExportOptions) -> Iterator[str]:
    for pattern in unmatched_patterns(model.checkpoint.config, options.patterns):
        yield f"scrub={pattern} matches no key of the configuration"


def _warnings(model: ReleaseModel, codec: Optional[CompressionModel], family: Family) -> Iterator[str]:
    checkpoint = model.checkpoint
    yield from checkpoint.notes
    if checkpoint.unknown_globals:
        yield f"ignored in the checkpoint, neither imported nor released: {listing(checkpoint.unknown_globals, 20)}"
    if codec is not None and codec.checkpoint is not None and codec.checkpoint.unknown_globals:
        yield f"ignored in that of the compression model: {listing(codec.checkpoint.unknown_globals, 20)}"
    if checkpoint.sig is None:
        yield "the checkpoint holds no signature (xp.sig): nothing proves that it belongs to this experiment"
    if checkpoint.config_source == HYDRA_CONFIG.as_posix():
        yield f"the checkpoint holds no configuration (xp.cfg): it was taken from {checkpoint.config_source}"
    if not checkpoint.history:
        yield "no epoch was finished when this state was stored"
    if family.audiocraft and model.version == UNKNOWN_VERSION:
        yield "AudioCraft is not installed here and no version was given: the release is tagged unknown"
