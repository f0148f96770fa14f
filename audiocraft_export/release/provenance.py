"""What is known of a release before its files are written: the manifest without `files`."""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Optional

from ..checkpoint.checkpoint import CONFIG_OPTION
from ..errors import listing
from ..experiment.privacy.scrub import unmatched_patterns
from ..experiment.xp import HYDRA_CONFIG
from ..options import AUDIOCRAFT, PUBLIC, ExportOptions
from ..storage.durable_file import WrittenFile
from ..version import __version__
from .compression_model import CompressionModel
from .families.registry import family_name, family_notes, family_of, selection_of, solver_of
from .installed_audiocraft import audiocraft_version
from .manifest import Manifest
from .metrics import Selection, is_number
from .model import ReleaseModel

UNKNOWN_VERSION = "unknown"
BAND_FIELDS = ("sig", "epoch", "weights", "why", "checkpoint", "config", "config_sha256", "best",
               "weights_epoch")
BEST_SECTIONS, LATEST_SECTIONS = ("best_state", "fsdp_best_state"), ("model", "ema")  # any other is of an unknown epoch


def version_tag(asked: Optional[str] = None) -> str:
    """The AudioCraft version tag of a release: the one asked for, that of the installed AudioCraft, or `unknown`."""
    return asked or audiocraft_version() or UNKNOWN_VERSION


def build_manifest(model: ReleaseModel, options: ExportOptions, codec: Optional[CompressionModel] = None,
                   notes: Iterable[str] = (), selection: Optional[Selection] = None) -> Manifest:
    """Build the manifest of one model, without its files; `notes` are warnings of its family.

    Without a selection (of a living solver), the options and the configuration say how the best state is selected.
    """
    checkpoint = model.checkpoint
    selection = selection or selection_of(checkpoint.config, options.metric, options.family)
    is_best = model.weights.source in BEST_SECTIONS
    epoch = _weights_epoch(model, selection)
    return Manifest(
        sig=checkpoint.sig, solver=solver_of(model.config), epoch=checkpoint.epochs,
        weights=model.weights.source, why=model.weights.reason,
        tensors=len(model.weights.tensors), parameters=model.weights.parameters, dtypes=model.weights.dtypes,
        files=[], checkpoint=asdict(checkpoint.file.source) if checkpoint.file else None,
        codec=codec.origin if codec else None,
        config=checkpoint.config_source, config_sha256=sha256(model.config.text.encode()).hexdigest(),
        weights_epoch=epoch,
        best=selection.describe(checkpoint.history, epoch) if selection and epoch and is_best else None,
        options={"weights": options.weights, "dtype": options.dtype, "codec": options.codec, "version": model.version,
                 **_later_options(options)},
        warnings=[*notes, *_warnings(model, codec, options),
                  *(_metric_warnings(checkpoint.history, options.metric) if is_best and epoch is None else ())],
        versions={"audiocraft": model.version, "audiocraft-export": __version__, "python": platform.python_version(),
                  "torch": _package_version("torch"), "omegaconf": _package_version("omegaconf")},
        sig_source=checkpoint.sig_source,
        family=family_name(checkpoint.config, options.family),
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def merge_manifests(manifests: Sequence[Manifest], notes: Iterable[str]) -> Manifest:
    """Merge the manifests of several experiments into that of the one release made of them.

    `notes` are about all together; a warning that all have is given once, any other with the name of its experiment.
    """
    first = manifests[0]
    shared = [text for text in first.warnings if all(text in each.warnings for each in manifests)]
    own = [f"{each.name}: {text}" for each in manifests for text in each.warnings if text not in shared]
    return replace(
        first, sig=None, checkpoint=None, config_sha256=None, best=None, weights_epoch=None,
        epoch=first.epoch if all(each.epoch == first.epoch for each in manifests) else None,
        weights=", ".join(dict.fromkeys(each.weights for each in manifests)),
        why=", ".join(dict.fromkeys(each.why for each in manifests)),
        tensors=sum(each.tensors for each in manifests), parameters=sum(each.parameters for each in manifests),
        dtypes=dict(sorted(sum((Counter(each.dtypes) for each in manifests), Counter[str]()).items())),
        bands=[{name: value for name, value in each.to_dict().items() if name in BAND_FIELDS} for each in manifests],
        warnings=[*notes, *shared, *own],
    )


def with_files(manifest: Manifest, files: list[WrittenFile], nonfinite: Mapping[str, Mapping[str, int]]) -> Manifest:
    """Complete a manifest with what was written; `nonfinite` counts NaN and infinite values by file and tensor."""
    counts = {file: tensors for file, tensors in nonfinite.items() if tensors}
    warnings = [nonfinite_warning(file, tensors) for file, tensors in counts.items()]
    return replace(manifest, files=files, nonfinite=counts, warnings=[*manifest.warnings, *warnings])


def nonfinite_warning(file: str, tensors: Mapping[str, int]) -> str:
    """The warning about the NaN and infinite values of a file, counted by tensor."""
    return f"{file} holds {sum(tensors.values())} numbers that are NaN or infinite, in {listing(list(tensors))}"


def _later_options(options: ExportOptions) -> dict[str, Any]:
    """Options added after format 1, omitted at their defaults so that older manifests still match."""
    names = ["scrub", "family"] if options.format == AUDIOCRAFT else ["format", "max_shard_size", "scrub", "family"]
    return {name: value for name, value in asdict(options).items() if name in names and value is not None}


def _warnings(model: ReleaseModel, codec: Optional[CompressionModel], options: ExportOptions) -> Iterator[str]:
    checkpoint = model.checkpoint
    odd, is_public = checkpoint.config_notes, PUBLIC in options.patterns
    yield from () if is_public else odd  # they name classes, keys and values, which may be private
    yield from checkpoint.notes
    if odd and is_public:
        yield f"{len(odd)} of the values of the configuration are no plain data: what stands for them was released"
    yield from family_notes(checkpoint.config, options.family)
    if checkpoint.unknown_globals:
        ignored = _describe_globals(checkpoint.unknown_globals, options)
        yield f"ignored in the checkpoint, neither imported nor released: {ignored}"
    yield from model.weights.notes
    yield from (f"compression model: {note}" for note in (codec.notes if codec else ()))
    if codec is not None and codec.checkpoint is not None and codec.checkpoint.unknown_globals:
        ignored = _describe_globals(codec.checkpoint.unknown_globals, options)
        yield f"ignored in that of the compression model: {ignored}"
    if checkpoint.sig is None:
        yield "the checkpoint holds no signature (xp.sig): nothing proves that it belongs to this experiment"
    if checkpoint.config_source == HYDRA_CONFIG.as_posix():
        yield f"the checkpoint holds no configuration (xp.cfg): it was taken from {checkpoint.config_source}"
    if checkpoint.config_source == CONFIG_OPTION:
        yield "the checkpoint holds no configuration (xp.cfg): it was taken from the file that was named (config)"
    if checkpoint.epochs is None:
        yield "the checkpoint holds no history: after how many epochs it was stored is not known"
    elif not checkpoint.epochs:
        yield "no epoch was finished when this state was stored"
    if model.version == UNKNOWN_VERSION and family_of(checkpoint.config, options.family).audiocraft:
        yield "AudioCraft is not installed here and no version was given: the release is tagged unknown"
    for pattern in unmatched_patterns(checkpoint.config, options.patterns):
        yield f"scrub={pattern} matches no key of the configuration"


def _weights_epoch(model: ReleaseModel, selection: Optional[Selection]) -> Optional[int]:
    """Of which epoch the weights are, if that is known."""
    checkpoint, source = model.checkpoint, model.weights.source
    if checkpoint.is_unfinished:
        return None
    if source in BEST_SECTIONS:
        return selection.epoch(checkpoint.history) if selection else None
    return checkpoint.epochs or None if source in LATEST_SECTIONS and checkpoint.has_own_history else None


def _metric_warnings(history: Sequence[Any], metric: Optional[str]) -> Iterator[str]:
    """Why the option `metric` does not say of which epoch the best weights are."""
    if metric is None or not history:
        return
    named = Selection.parse(metric)
    if not any(map(is_number, named.values(history))):
        stage = (history[-1] if isinstance(history[-1], dict) else {}).get(named.stage)
        known = listing([*map(str, stage)]) if isinstance(stage, dict) and stage else "none"
        yield (f"no epoch has a number {named.metric} in the stage {named.stage} (metric={metric}): of which epoch the "
               f"weights are is not known; metrics of that stage: {known}")
    else:
        yield (f"metric={metric} does not say of which epoch the weights are: several epochs have the best value, or "
               "the training was in the middle of one")


def _describe_globals(names: Sequence[str], options: ExportOptions) -> str:
    """The names of unknown classes and functions; for the public only their number: a project's modules are private."""
    if PUBLIC not in options.patterns:
        return listing(names, 20)
    return f"{len(names)} unknown {'class or function' if len(names) == 1 else 'classes and functions'}"


@cache
def _package_version(package: str) -> str:
    try:
        return version(package)
    except (PackageNotFoundError, OSError):  # its metadata cannot be read
        return UNKNOWN_VERSION
