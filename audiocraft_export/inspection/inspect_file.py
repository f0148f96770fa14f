"""Summarize one file of a training or of a release, or an experiment without a checkpoint."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, can_open, to_checkpoint, with_offer
from ..checkpoint.state_dict import count_nonfinite
from ..checkpoint.tensor import LazyTensor
from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, ExperimentError, ExportError, ReleaseError, coded_warning, listing, plural
from ..experiment.config import Config
from ..experiment.xp import HYDRA_CONFIG, HYDRA_SETTINGS, MANIFEST, AnyPath, Experiment
from ..formats.decoders import CONVERTIBLE, read_contents, role_of
from ..formats.digest import content_digest, tensor_digests
from ..formats.registry import prepare_release
from ..formats.safetensors.file import read_safetensors
from ..formats.safetensors.layout import CODEC_PREFIX
from ..options import RELEASE_FOLDER, ExportOptions
from ..pipeline.export import plan_export
from ..release.families.registry import OWN_NAMES, best_rule, solver_of
from ..release.manifest import FILES_ABOUT_MODEL, Manifest
from ..release.metrics import BestRule, is_number, lowest_loss
from ..release.owned_files import is_weights_file, release_file_names
from ..release.prepare import PreparedRelease
from ..release.report import DryRunReport
from ..release.status import MISSING, UP_TO_DATE, release_status
from ..verification.weights import ReleaseWeights, read_weights
from .file_summary import EXPERIMENT, RELEASE, TRAINING, FileSummary
from .limits import MAX_KEY, MAX_SEARCH_DEPTH
from .loaded_release import config_of
from .xp_summary import broken_history, epochs_done, last_value

OTHER = "everything else"


def inspect_file(path: Path, xp: Optional[Experiment] = None, dora_dir: Optional[AnyPath] = None,
                 values: bool = False, metric: Optional[str] = None, *, by_name: bool = False,
                 digest: bool = False) -> FileSummary:
    """Summarize a training checkpoint, or a file of a release.

    Args:
        xp: the experiment that a checkpoint must belong to; None is the experiment of its folder.
        dora_dir: the Dora folder for compression models `//sig/`; None is the Dora folder of the experiment.
        values: whether to read all weights, to find NaN, infinite and corrupted values.
        metric: as the option `metric`.
        by_name: whether the hint of an error may offer another checkpoint of `xp`.
        digest: whether to read the weights of the file, or those that an export of a checkpoint would release, for
            their content digest.

    Raises:
        ExportError: if the file is not an intact one of torch.save or safetensors, or the weights cannot be read.
    """
    try:
        file = None if path.suffix == ".safetensors" else TorchFile.read(path)
    except CheckpointError as exc:
        raise (with_offer(exc, xp, path, partial(can_open, xp)) if by_name and xp else exc) from exc.__cause__
    summary = _read_safetensors(path) if file is None else _read_torch(file)
    if values:
        summary = _check_values(summary)
    if file is not None and summary.kind == TRAINING:
        options = ExportOptions(metric=metric, digest=digest)
        return _add_export(summary, file, xp or Experiment(path.absolute().parent, None), dora_dir, options)
    if file is not None:
        summary = summary.with_warnings(*_unknown_globals(file))
    summary = _add_manifest(summary)
    return with_digest(summary, read_weights(path)) if digest else summary


def inspect_experiment(xp: Experiment, metric: Optional[str] = None, *, digest: bool = False) -> FileSummary:
    """Summarize an experiment that has no `checkpoint.th`, from the files of Dora and Hydra and its release.

    Args:
        xp: the experiment.
        metric: as the option `metric`.
        digest: whether to read the weights of its release, if it has one, for their content digest.

    Raises:
        ExportError: if its configuration, or the release with `digest`, cannot be read.
    """
    status, refused = release_status(xp.folder / RELEASE_FOLDER, xp.folder), None
    if status.state != UP_TO_DATE:
        try:
            xp.checkpoint()
        except ExperimentError as exc:
            refused = str(exc)
    summary = FileSummary(EXPERIMENT, xp.folder, sig=xp.sig, xp=xp, status=status, manifest=status.manifest,
                          refused=refused)
    history = xp.history
    summary = _add_training(summary, _read_config(xp.folder / HYDRA_CONFIG), history, metric)
    if digest and status.manifest:
        summary = with_digest(summary, read_weights(summary.folder))
    summary = replace(summary, epochs=epochs_done(xp, history, status.state != MISSING))
    return summary.with_warnings(*broken_history(xp, history), *_missing_metrics(history),
                                 *(status.manifest.warnings if status.manifest else ()))


def lacks_checkpoint(xp: Experiment) -> bool:
    """Return whether an experiment has no checkpoint, or has a release and no `checkpoint.th`."""
    is_released = os.path.lexists(xp.folder / RELEASE_FOLDER / MANIFEST)
    return xp.has_no_checkpoint or is_released and not os.path.lexists(xp.checkpoint_path())


def with_digest(summary: FileSummary, weights: ReleaseWeights) -> FileSummary:
    """Add the content digest of a release to its summary, and a warning if its manifest has another one."""
    summary = replace(summary, content_digest=weights.digest)
    if weights.recorded in (None, weights.digest):
        return summary
    return summary.with_warnings(coded_warning("digest-mismatch", f"{MANIFEST} has the content digest "
                                               f"{weights.recorded}, but the weights have {weights.digest}"))


def release_files(path: Path) -> list[Path]:
    """Return the weight files of a release, named by its folder or a file about it; empty for anything else.

    Raises:
        ReleaseError: if only the manifest can name the files, and it is invalid.
    """
    folder = path.parent if path.name in FILES_ABOUT_MODEL and os.path.isfile(path) else path
    manifest = Manifest.load_or_none(folder)
    if manifest:
        return [folder / name for name in release_file_names(manifest) if is_weights_file(name)]
    if os.path.isdir(folder) and Experiment(folder, None).checkpoints:
        return []
    files = [folder / name for name in OWN_NAMES if os.path.isfile(folder / name)]
    if not files and os.path.lexists(folder / MANIFEST):
        Manifest.load(folder)
    return files


def _read_safetensors(path: Path) -> FileSummary:
    tensors = dict(read_safetensors(path).tensors)
    nbytes, used = os.path.getsize(path), sum(tensor.nbytes for tensor in tensors.values())
    prefix = CODEC_PREFIX if path.name.startswith(CODEC_PREFIX) else ""
    config = _read_config(path.with_name(f"{prefix}config.yaml"))
    return FileSummary(RELEASE, path, nbytes, {"tensors": used, OTHER: nbytes - used}, tensors, config=config)


def _read_torch(file: TorchFile) -> FileSummary:
    nbytes: Counter[str] = Counter()
    tensors: dict[str, LazyTensor] = {}
    counted: set[int] = set()
    for key, value in file.state.items():
        name = str(key)[:MAX_KEY]
        inside = dict(_walk_tensors(value, (name,), set()))
        blobs = {id(tensor.blob): tensor.blob for tensor in inside.values()}
        nbytes[name] += sum(blob.nbytes for each, blob in blobs.items() if each not in counted)
        counted |= set(blobs)
        tensors.update(inside)
    sections = {name: count for name, count in nbytes.most_common() if count}
    sections[OTHER] = sections.get(OTHER, 0) + file.source.bytes - sum(sections.values())
    summary = FileSummary(TRAINING, file.path, file.source.bytes, sections, tensors,
                          warnings=[*_shared_storages(tensors)])
    if "exported" not in file.state:
        return summary
    config = file.state.get("xp.cfg")
    return replace(summary, kind=RELEASE, config=Config.parse(config) if isinstance(config, str) else None)


def _add_manifest(summary: FileSummary) -> FileSummary:
    """Add values from the manifest next to a file of a release."""
    folder = summary.path.parent
    manifest = None
    try:
        manifest = Manifest.load(folder)
    except ReleaseError as exc:
        if exc.code == "read-failed":
            summary = summary.with_warnings(coded_warning("manifest-ignored", exc.message))
        elif os.path.isfile(folder / MANIFEST):
            summary = summary.with_warnings(coded_warning(
                "manifest-ignored",
                f"{MANIFEST} next to it is invalid: run audiocraft-export verify {shlex.quote(str(folder))}"))
    if manifest is None or summary.path.name not in [file.name for file in manifest.files]:
        return summary
    summary = replace(summary, status=release_status(folder, folder.parent))
    if summary.nonfinite is None:
        summary = replace(summary, nonfinite=manifest.nonfinite_in(summary.path.name))
    if manifest.codec and summary.path.name.startswith(CODEC_PREFIX):  # the facts are about the language model
        return replace(summary, sig=manifest.codec.get("sig"))
    if summary.config is None and manifest.release_format in CONVERTIBLE:  # it may be in another file, or in the bands
        with suppress(ExportError):
            summary = replace(summary, config=config_of(read_contents(folder, manifest)))
    return replace(summary, sig=manifest.sig, solver=manifest.solver, manifest=manifest, epochs=manifest.epoch,
                   best=manifest.known_best).with_warnings(*manifest.warnings)


def _add_training(summary: FileSummary, config: Optional[Config], history: Sequence[Any],
                  metric: Optional[str] = None) -> FileSummary:
    rule = (best_rule(config, metric) if config else None) or lowest_loss(history)
    curve = [value if is_number(value) else None for value in rule.values(history)]
    return replace(summary, config=config, solver=solver_of(config) if config else None, epochs=len(history),
                   history=history, best=rule.best(history), last=last_value(rule, history),
                   curve=curve if any(value is not None for value in curve) else [])


def _add_export(summary: FileSummary, file: TorchFile, xp: Experiment, dora_dir: Optional[AnyPath],
                options: ExportOptions) -> FileSummary:
    summary = replace(summary, xp=xp, status=release_status(xp.folder / RELEASE_FOLDER, xp.folder))
    summary = summary.with_warnings(*broken_history(xp, xp.history))
    try:
        checkpoint = to_checkpoint(file)
        summary = replace(_add_training(summary, checkpoint.config, checkpoint.history, options.metric),
                          sig=checkpoint.sig, epochs=checkpoint.epochs)
        checkpoint.check_experiment(xp)
        checkpoint.note_missing_epochs(xp)
        plan, refused = _plan(checkpoint, xp.folder, dora_dir, options)
        used = options.replace(codec="none") if refused else options
        digest = _planned_digest(prepare_release(checkpoint, xp.folder, used, dora_dir)) if options.digest else None
    except ExportError as exc:
        return replace(summary, refused=str(exc)).with_warnings(*_unknown_globals(file))
    summary = replace(summary, manifest=plan.manifest, plan=plan, refused=refused, content_digest=digest,
                      status=summary.status if refused else plan.status)
    return summary.with_warnings(*plan.manifest.warnings, *_missing_metrics(checkpoint.history))


def _plan(checkpoint: Checkpoint, xp_folder: Path, dora_dir: Optional[AnyPath],
          options: ExportOptions) -> tuple[DryRunReport, Optional[str]]:
    """Plan an export; if it fails, plan it without the compression model, and return the error as well."""
    folder = xp_folder / RELEASE_FOLDER
    try:
        return plan_export(checkpoint, xp_folder, folder, options, dora_dir), None
    except ExportError as exc:
        return plan_export(checkpoint, xp_folder, folder, options.replace(codec="none"), dora_dir), str(exc)


def _planned_digest(prepared: PreparedRelease) -> str:
    """Return the content digest of the release that an export would make."""
    return content_digest(tensor_digests({role_of(name): content for name, content in prepared.contents.items()
                                          if isinstance(content, Mapping)}))


def _walk_tensors(value: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, LazyTensor]]:
    """Yield the tensors in nested data by dotted name; data that contains itself is entered once."""
    if isinstance(value, LazyTensor):
        yield ".".join(path), value
    elif isinstance(value, (dict, list, tuple)) and id(value) not in seen and len(path) < MAX_SEARCH_DEPTH:
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (LazyTensor, dict, list, tuple)):
                yield from _walk_tensors(item, (*path, str(key)[:MAX_KEY]), seen)


def _missing_metrics(history: Sequence[Any]) -> Iterator[str]:
    best = BestRule().best(history)
    if best is not None and not any(map(is_number, best["valid"].values())):
        yield coded_warning("missing-metrics", f"the validation of epoch {best['epoch']} has no finite metric")


def _unknown_globals(file: TorchFile) -> Iterator[str]:
    if file.unknown_globals:
        yield coded_warning("unknown-globals", "unknown globals, neither imported nor released: "
                            f"{listing(file.unknown_globals, 20)}")


def _shared_storages(tensors: Mapping[str, LazyTensor]) -> Iterator[str]:
    names: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor.blob), []).append(name)
    shared = [each for each in names.values() if len(each) > 1]
    if shared:
        count = len(shared)
        yield coded_warning("shared-storages", f"{sum(map(len, shared))} tensors share {count} "
                            f"{plural(count, 'storage')}{', such as' if count > 1 else ':'} {listing(shared[0], 3)}")


def _check_values(summary: FileSummary) -> FileSummary:
    """Read all values to count those that are NaN or infinite, and to find corrupted ones."""
    found = dict(count_nonfinite(summary.tensors))
    counts = {name: count for name, count in found.items() if isinstance(count, int) and count}
    corrupted = [coded_warning("corrupted-tensor", f"{name}: {exc}")
                 for name, exc in found.items() if not isinstance(exc, int)]
    found_values = [coded_warning("nonfinite-values", f"{name}: {count} NaN/inf {plural(count, 'value')}")
                    for name, count in counts.items()]
    return replace(summary, nonfinite=sum(counts.values())).with_warnings(*corrupted, *found_values)


def _read_config(path: Path) -> Optional[Config]:
    return Config.load(path).with_choices(path.parent / HYDRA_SETTINGS.name) if os.path.isfile(path) else None
