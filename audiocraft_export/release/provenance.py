"""Build the manifest of a release: its provenance and warnings."""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from typing import Any, Optional

from .. import progress
from ..checkpoint.checkpoint import CONFIG_OPTION, Checkpoint
from ..checkpoint.plain_config import Note
from ..checkpoint.torch_file import TorchFile
from ..errors import coded_warning, listing, printable, split_warning, warning_about
from ..experiment.config import Config
from ..experiment.privacy.scrub import unmatched_patterns
from ..experiment.walk import find
from ..experiment.xp import HYDRA_CONFIG
from ..options import AUDIOCRAFT, PUBLIC, RECORDED, ExportOptions
from ..storage.durable_file import WrittenFile
from ..version import __version__
from .compression_model import CompressionModel
from .families.registry import best_rule, family_name, family_notes, family_of, solver_of
from .installed_audiocraft import UNKNOWN_VERSION, audiocraft_version
from .manifest import Manifest
from .metrics import BestRule, is_number, looks_like_score
from .model import ReleaseModel
from .weights import SECTIONS, has_latest_values

_SCRUBBED = object()
_SINCE_FORMAT_1 = ("weights", "dtype", "codec", "version")  # the options in each manifest
BAND_FIELDS = ("sig", "epoch", "weights", "why", "checkpoint", "config", "config_sha256", "best",
               "weights_epoch", "git")
# The epoch of the weights is known only for these sections.
BEST_SECTIONS, LATEST_SECTIONS = SECTIONS["best"], (*SECTIONS["last"], *SECTIONS["ema"])


def version_tag(asked: Optional[str] = None) -> str:
    """Return the AudioCraft version tag: `asked`, or else the installed version, or else `unknown`."""
    return asked or audiocraft_version() or UNKNOWN_VERSION


def build_manifest(model: ReleaseModel, options: ExportOptions, codec: Optional[CompressionModel] = None,
                   notes: Iterable[str] = (), rule: Optional[BestRule] = None) -> Manifest:
    """Build the manifest of one model, complete except for `files`.

    Args:
        model: the model.
        options: the options of the export.
        codec: the compression model, if one is released too.
        notes: coded warnings of the family.
        rule: how a running solver selects its best state; None derives it from options and configuration.
    """
    checkpoint = model.checkpoint
    rule = rule or best_rule(checkpoint.config, options.metric, options.family)
    is_best = model.weights.section in BEST_SECTIONS
    refuted = _refuted_epoch(model, rule) if rule and is_best else None
    epoch = _weights_epoch(model, rule) if refuted is None else None
    return Manifest(
        sig=checkpoint.sig, solver=solver_of(model.config), epoch=checkpoint.epochs,
        weights=model.weights.section, why=model.weights.reason,
        tensors=len(model.weights.tensors), parameters=model.weights.parameters, dtypes=model.weights.dtypes,
        files=[], checkpoint=asdict(checkpoint.file.source) if checkpoint.file else None,
        codec=codec.origin if codec else None,
        config=checkpoint.config_source, config_sha256=sha256(model.config.text.encode()).hexdigest(),
        weights_epoch=epoch,
        best=rule.describe(checkpoint.history, epoch) if rule and epoch and is_best else None,
        options=_recorded_options(options, model.version),
        warnings=[*notes, *_warnings(model, codec, options),
                  *(_epoch_warnings(checkpoint, rule, epoch, refuted, options.metric) if is_best else ())],
        versions={"audiocraft": model.version, "audiocraft-export": __version__, "python": platform.python_version(),
                  "torch": _package_version("torch"), "omegaconf": _package_version("omegaconf")},
        sig_source=checkpoint.sig_source,
        family=family_name(checkpoint.config, options.family),
        time="",  # `with_files` sets it
    )


def merge_manifests(manifests: Sequence[Manifest], notes: Iterable[str]) -> Manifest:
    """Merge the manifests of several experiments into the manifest of one release.

    A warning that all experiments have is listed once; any other warning names its experiment.

    Args:
        manifests: the manifests of the experiments.
        notes: coded warnings about the experiments together.
    """
    first = manifests[0]
    shared = [text for text in first.warnings if all(text in each.warnings for each in manifests)]
    own = [warning_about(each.name, text) for each in manifests for text in each.warnings if text not in shared]
    return replace(
        first, sig=None, checkpoint=None, config_sha256=None, best=None, weights_epoch=None, git=None,
        epoch=first.epoch if all(each.epoch == first.epoch for each in manifests) else None,
        weights=", ".join(dict.fromkeys(each.weights for each in manifests)),
        why=", ".join(dict.fromkeys(each.why for each in manifests)),
        tensors=sum(each.tensors for each in manifests), parameters=sum(each.parameters for each in manifests),
        dtypes=dict(sorted(sum((Counter(each.dtypes) for each in manifests), Counter[str]()).items())),
        bands=[{name: value for name, value in each.to_dict().items() if name in BAND_FIELDS} for each in manifests],
        warnings=[*notes, *shared, *own],
    )


def with_source_digests(manifest: Manifest, models: Sequence[ReleaseModel],
                        codec: Optional[CompressionModel]) -> Manifest:
    """Add the sha256 of each checkpoint file to a manifest, where it is missing; the whole file is read.

    Raises:
        CheckpointError: if a file cannot be read, or was modified since it was opened.
    """
    files = [model.checkpoint.file for model in models]
    if manifest.bands:
        bands = [_with_source_digest(band, "checkpoint", file) for band, file in zip(manifest.bands, files)]
        return replace(manifest, bands=[*bands])
    origin = manifest.codec
    for key in ("checkpoint", "file"):
        origin = origin and _with_source_digest(origin, key, codec.file if codec else None)
    checkpoint = _with_source_digest(vars(manifest), "checkpoint", files[0])["checkpoint"]
    return replace(manifest, checkpoint=checkpoint, codec=origin)


def _with_source_digest(values: Mapping[str, Any], key: str, file: Optional[TorchFile]) -> Mapping[str, Any]:
    """Add the sha256 of a file to the source under a key, if there is a source without one."""
    source = values.get(key)
    if file is None or not isinstance(source, dict) or "sha256" in source:
        return values
    with progress.phase(f"hashing {printable(file.path.name)}"):
        return {**values, key: {**source, "sha256": file.archive.sha256()}}


def with_files(manifest: Manifest, files: list[WrittenFile], nonfinite: Mapping[str, Mapping[str, int]]) -> Manifest:
    """Add the written files to a manifest; `nonfinite` has the number of NaN and infinite values by file and tensor."""
    counts = {file: tensors for file, tensors in nonfinite.items() if tensors}
    warnings = [nonfinite_warning(file, tensors) for file, tensors in counts.items()]
    time = manifest.time or datetime.now(timezone.utc).isoformat(timespec="seconds")  # a conversion keeps it
    return replace(manifest, files=files, nonfinite=counts, warnings=[*manifest.warnings, *warnings], time=time)


def without_nonfinite_warnings(manifest: Manifest) -> list[str]:
    """Return the warnings of a manifest, except those about NaN and infinite values that `with_files` added."""
    counted = tuple(f"{file} " for file in manifest.nonfinite)
    return [warning for warning in manifest.warnings
            if split_warning(warning)[0] != "nonfinite-values" and not warning.startswith(counted)]


def nonfinite_warning(file: str, tensors: Mapping[str, int]) -> str:
    """Return the warning about the NaN and infinite values of a file; `tensors` has their number by tensor."""
    count = sum(tensors.values())
    return coded_warning("nonfinite-values", f"{file} has {count} NaN or infinite values in {listing(list(tensors))}")


def _recorded_options(options: ExportOptions, version: str) -> dict[str, Any]:
    """Return the options that change the files; those added after format 1 are omitted at their defaults.

    So manifests of earlier versions still match.
    """
    omitted = {"format", "max_shard_size"} if options.format == AUDIOCRAFT else set()
    values = {name: value for name, value in {**asdict(options), "version": version}.items() if name not in omitted}
    return {name: values[name] for name in RECORDED if name in _SINCE_FORMAT_1 or values.get(name) is not None}


def _warnings(model: ReleaseModel, codec: Optional[CompressionModel], options: ExportOptions) -> Iterator[str]:
    """Yield the coded warnings about a model, its checkpoint and its compression model."""
    checkpoint = model.checkpoint
    is_for_public = PUBLIC in options.patterns
    config_notes = [note[1] for note in checkpoint.config_notes if _is_kept(note, model.config)]
    yield from () if is_for_public else config_notes  # The notes name classes and keys, which may be private.
    yield from checkpoint.notes
    if config_notes and is_for_public:
        yield coded_warning("config-value-replaced", f"{len(config_notes)} values of the configuration are not plain "
                            "data and were replaced")
    yield from family_notes(checkpoint.config, options.family)
    if checkpoint.unknown_globals:
        ignored = _describe_globals(checkpoint.unknown_globals, options)
        yield coded_warning("unknown-globals", "the checkpoint has unknown globals, neither imported nor released: "
                            f"{ignored}")
    yield from model.weights.notes
    yield from (warning_about("compression model", note) for note in (codec.notes if codec else ()))
    if codec is not None and codec.checkpoint is not None and codec.checkpoint.unknown_globals:
        ignored = _describe_globals(codec.checkpoint.unknown_globals, options)
        yield coded_warning("codec-globals", "the compression model has unknown globals, neither imported nor "
                            f"released: {ignored}")
    if checkpoint.sig is None:
        yield coded_warning("missing-xp-sig", "the checkpoint has no signature (xp.sig): cannot verify that it "
                            "belongs to this experiment")
    if checkpoint.config_source in (HYDRA_CONFIG.as_posix(), CONFIG_OPTION):
        is_option = checkpoint.config_source == CONFIG_OPTION
        used = "the option config" if is_option else checkpoint.config_source
        yield coded_warning("config-from-file", "the checkpoint has no configuration (xp.cfg): the release has the "
                            f"configuration from {used}")
    if checkpoint.epochs is None:
        yield coded_warning("missing-history", "the checkpoint has no history: the number of trained epochs is unknown")
    elif not checkpoint.epochs:
        yield coded_warning("missing-history", "the checkpoint was stored before the first epoch was finished")
    if model.version == UNKNOWN_VERSION and family_of(checkpoint.config, options.family).of_audiocraft:
        yield coded_warning("unknown-version", "AudioCraft is not installed and no version was given: the version tag "
                            "of the release is `unknown`")
    unmatched = unmatched_patterns(checkpoint.config, options.patterns)
    if codec is not None and codec.config is not None:
        unmatched = unmatched_patterns(codec.config, unmatched)
    for pattern in unmatched:
        yield unmatched_warning(pattern)


def unmatched_warning(pattern: str) -> str:
    """Return the warning about a scrub pattern that has removed nothing."""
    return coded_warning("scrub-unmatched", f"scrub={pattern} matches no key of the configuration")


def _is_kept(note: Note, config: Config) -> bool:
    """Return whether a configuration, which may be scrubbed, still has the value that a note is about."""
    keys = takewhile(lambda key: key != "{}", note[0])
    return find(config.values, keys, _SCRUBBED) is not _SCRUBBED


def _weights_epoch(model: ReleaseModel, rule: Optional[BestRule]) -> Optional[int]:
    """Return the epoch of the weights; None if unknown."""
    checkpoint, section = model.checkpoint, model.weights.section
    if checkpoint.is_unfinished:
        return None
    if section in BEST_SECTIONS:
        return rule.epoch(checkpoint.history) if rule else None
    return checkpoint.epochs or None if section in LATEST_SECTIONS and checkpoint.has_own_history else None


def _refuted_epoch(model: ReleaseModel, rule: BestRule) -> Optional[int]:
    """Return the best epoch by a rule, if it is not the last one but the best state has the latest weights."""
    checkpoint = model.checkpoint
    epoch = rule.epoch(checkpoint.history) if rule.metric is not None else None
    is_earlier = epoch not in (None, checkpoint.epochs)
    return epoch if is_earlier and has_latest_values(checkpoint, model.weights.section) else None


def _epoch_warnings(checkpoint: Checkpoint, rule: Optional[BestRule], epoch: Optional[int], refuted: Optional[int],
                    metric: Optional[str]) -> Iterator[str]:
    """Explain why the epoch of the best weights is unknown, if a metric should determine it, or may be wrong."""
    if metric and epoch is not None:
        if looks_like_score(metric):
            yield coded_warning("metric-direction", f"metric={metric} takes the lowest value as the best one; use "
                                f"metric={metric}:max if it is the highest, or metric={metric}:min")
    elif rule is None or refuted is None:
        yield from _metric_warnings(checkpoint.history, metric)
    else:
        lowest = "highest" if rule.maximize else "lowest"
        yield coded_warning("unknown-epoch", f"the epoch of the weights is unknown: {rule.name} has its {lowest} value "
                            f"in epoch {refuted}, but the best state has the weights of the last epoch, "
                            f"{checkpoint.epochs}. If the {'lowest' if rule.maximize else 'highest'} value is "
                            f"the best, set metric={rule.name}:{'min' if rule.maximize else 'max'}")


def _metric_warnings(history: Sequence[Any], metric: Optional[str]) -> Iterator[str]:
    """Explain why the option `metric` does not determine the epoch of the best weights."""
    if metric is None or not history:
        return
    named = BestRule.parse(metric)
    if not any(map(is_number, named.values(history))):
        stage = (history[-1] if isinstance(history[-1], dict) else {}).get(named.stage)
        known = listing([*map(str, stage)]) if isinstance(stage, dict) and stage else "none"
        yield coded_warning("unknown-epoch", "the epoch of the weights is unknown: no epoch has a numeric value of "
                            f"{named.metric} in the stage {named.stage} (metric={metric}); metrics of this stage: "
                            f"{known}")
    else:
        yield coded_warning("unknown-epoch", "the epoch of the weights is unknown: several epochs have the best value "
                            f"of metric={metric}, it has NaN or infinite values, the training chose the best state by "
                            "another rule, or the checkpoint was stored during an epoch")


def _describe_globals(names: Sequence[str], options: ExportOptions) -> str:
    """Return the names of unknown globals, or with scrub=public only their number: module names may be private."""
    if PUBLIC not in options.patterns:
        return listing(names, 20)
    return f"{len(names)} unknown {'class or function' if len(names) == 1 else 'classes and functions'}"


@cache
def _package_version(package: str) -> str:
    try:
        return version(package)
    except (PackageNotFoundError, OSError):  # OSError: unreadable metadata
        return UNKNOWN_VERSION
