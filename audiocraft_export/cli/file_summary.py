"""What is in a file: where its bytes are, which tensors, what would be released of it; reads no weight unless asked."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, to_checkpoint
from ..checkpoint.nonfinite import count_nonfinite
from ..checkpoint.tensor import LazyTensor
from ..checkpoint.torch_file import TorchFile
from ..errors import ExperimentError, ExportError, ReleaseError, listing
from ..experiment.config import Config
from ..experiment.xp import CHECKPOINT_FILE, HISTORY, HYDRA_CONFIG, HYDRA_SETTINGS, MANIFEST, AnyPath, Experiment
from ..formats.safetensors.file import read_safetensors
from ..options import RELEASE_FOLDER, ExportOptions
from ..pipeline.export import plan_export
from ..release.families.registry import OWN_NAMES, selection_of, solver_of
from ..release.manifest import Manifest
from ..release.metrics import Selection, is_number
from ..release.owned_files import is_torch_file, release_file_names
from ..release.report import Plan
from ..release.status import NONE, UP_TO_DATE, ReleaseStatus, release_status
from .limits import MAX_KEY, MAX_SEARCH_DEPTH
from .xp_summary import epochs_done, lowest_loss

OTHER = "everything else"
TRAINING, RELEASE, EXPERIMENT = "training checkpoint", "release", "experiment"


@dataclass(frozen=True)
class FileSummary:
    """What is in a file, or known of an experiment that has stored none."""

    kind: str  # TRAINING, RELEASE or EXPERIMENT
    path: Path  # of the file, or of the XP folder
    nbytes: int = 0  # size of the file
    sections: Mapping[str, int] = field(default_factory=dict)  # bytes by section; those that two share are the first's
    tensors: Mapping[str, LazyTensor] = field(default_factory=dict)  # by dotted name
    sig: Optional[str] = None
    solver: Optional[str] = None
    config: Optional[Config] = None
    epochs: Optional[int] = None  # how many are done
    metric: Optional[str] = None  # that selects the best state, or a loss if that is unknown
    curve: Sequence[Optional[float]] = ()  # that metric in each epoch, None where it has no value
    best: Optional[Mapping[str, Any]] = None  # metric, epoch and validation metrics of the epoch of the best state
    manifest: Optional[Manifest] = None  # of the release that it is, or would be
    plan: Optional[Plan] = None  # what an export of a training checkpoint would do
    status: Optional[ReleaseStatus] = None  # of the release beside a checkpoint, or of an experiment without one
    refused: Optional[str] = None  # why it cannot be exported with the default options
    odd: list[str] = field(default_factory=list)  # what is odd about it
    nonfinite: Optional[int] = None  # values that are NaN or infinite, as counted or by the manifest; None is unknown

    def to_dict(self, limit: Optional[int] = None) -> dict[str, Any]:
        """Plain data for JSON, with at most so many tensors, the largest ones."""
        release = self.plan or self.manifest
        return {
            "kind": self.kind, "path": str(self.path), "bytes": self.nbytes, "sig": self.sig, "solver": self.solver,
            "epochs": self.epochs, "sections": dict(self.sections),
            "metric": self.metric, "curve": [*self.curve], "best": self.best,
            "tensors": [{"name": name, "dtype": tensor.dtype, "shape": [*tensor.shape], "bytes": tensor.nbytes}
                        for name, tensor in self.largest(limit)],
            "release": release.to_dict() if release else None, **(self.status.to_dict() if self.status else {}),
            "refused": self.refused, "odd": self.odd, "nonfinite": self.nonfinite,
        }

    def largest(self, limit: Optional[int] = None) -> list[tuple[str, LazyTensor]]:
        """The largest tensors, with their names."""
        return sorted(self.tensors.items(), key=lambda item: -item[1].nbytes)[:limit]

    def diff(self, other: Config) -> list[tuple[str, str, str]]:
        """The dotted keys that its configuration and another do not have in common, with both values: JSON, unresolved.

        Raises:
            ReleaseError: if it has none.
        """
        if self.config is None:
            raise ReleaseError(f"{self.path} holds no configuration to compare: leave --diff out.")
        left, right = dict(_flatten(self.config.values, "")), dict(_flatten(other.values, ""))
        return [(key, left.get(key, ""), right.get(key, "")) for key in sorted({*left, *right})
                if left.get(key) != right.get(key)]


def inspect(path: Path, xp: Optional[Experiment] = None, dora_dir: Optional[AnyPath] = None,
            values: bool = False, metric: Optional[str] = None) -> FileSummary:
    """Summarize a training checkpoint, or a file of a release.

    Args:
        xp: the experiment that a checkpoint has to belong to; None is that of its folder.
        dora_dir: the Dora folder in which a compression model of the form `//sig/` is looked up, if it is not in it.
        values: whether to read all weights: for NaN and infinity, and for damage.
        metric: as the option `metric`: by which the training selects its best state.

    Raises:
        CheckpointError: if it is no intact file of torch.save that holds a dict, nor one of safetensors.
    """
    file = None if path.suffix == ".safetensors" else TorchFile.read(path)
    summary = _read_safetensors(path) if file is None else _read_torch(file)
    if values:
        summary = _check_values(summary)
    if file is not None and summary.kind == TRAINING:
        return _add_export(summary, file, xp or Experiment(path.absolute().parent, None), dora_dir, metric)
    if file is not None:
        summary.odd.extend(_unknown_globals(file))
    return _add_manifest(summary)


def inspect_experiment(xp: Experiment, metric: Optional[str] = None) -> FileSummary:
    """Summarize an experiment that has no `checkpoint.th`: what Dora and Hydra have written of it, and its release.

    Raises:
        CheckpointError: if its configuration cannot be read.
    """
    status, refused = release_status(xp.folder / RELEASE_FOLDER, xp.folder), None
    if status.state != UP_TO_DATE:
        try:
            xp.checkpoint()
        except ExperimentError as exc:
            refused = str(exc)
    summary = FileSummary(EXPERIMENT, xp.folder, sig=xp.sig, status=status, manifest=status.manifest, refused=refused)
    history = xp.history
    summary = _add_training(summary, _read_config(xp.folder / HYDRA_CONFIG), history, metric)
    return replace(summary, epochs=epochs_done(xp, history, status.state != NONE),
                   odd=[*_broken_history(xp), *_missing_metrics(history),
                        *(status.manifest.warnings if status.manifest else ())])


def release_files(path: Path) -> list[Path]:
    """The files with tensors of a release folder, or of that of a manifest; empty for anything else."""
    folder = path.parent if path.name == MANIFEST and os.path.isfile(path) else path
    manifest = Manifest.load_or_none(folder)
    if manifest:
        names = release_file_names(manifest)
        return [folder / name for name in names if is_torch_file(name) or name.endswith(".safetensors")]
    is_experiment = os.path.isfile(folder / CHECKPOINT_FILE)
    return [folder / name for name in OWN_NAMES if os.path.isfile(folder / name) and not is_experiment]


def _read_safetensors(path: Path) -> FileSummary:
    tensors = dict(read_safetensors(path).tensors)
    nbytes, used = os.path.getsize(path), sum(tensor.nbytes for tensor in tensors.values())
    prefix = "compression_" if path.name.startswith("compression_") else ""
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
    summary = FileSummary(TRAINING, file.path, file.source.bytes, sections, tensors, odd=[*_shared_storages(tensors)])
    if "exported" not in file.state:
        return summary
    config = file.state.get("xp.cfg")
    return replace(summary, kind=RELEASE, config=Config.parse(config) if isinstance(config, str) else None)


def _add_manifest(summary: FileSummary) -> FileSummary:
    folder = summary.path.parent
    manifest = Manifest.load_or_none(folder)
    if manifest is None and os.path.isfile(folder / MANIFEST):
        summary.odd.append(f"{MANIFEST} beside it is not what was written: verify says more")
    if manifest is None or summary.path.name not in [file.name for file in manifest.files]:
        return summary
    if summary.nonfinite is None:
        summary = replace(summary, nonfinite=manifest.nonfinite_in(summary.path.name))
    if manifest.codec and summary.path.name.startswith("compression_"):  # all else in it is of the language model
        return replace(summary, sig=manifest.codec.get("sig"))
    return replace(summary, sig=manifest.sig, solver=manifest.solver, manifest=manifest, epochs=manifest.epoch,
                   metric=(manifest.known_best or {}).get("metric"), best=manifest.known_best,
                   odd=[*summary.odd, *manifest.warnings])


def _add_training(summary: FileSummary, config: Optional[Config], history: Sequence[Any],
                  metric: Optional[str] = None) -> FileSummary:
    selection = selection_of(config, metric) if config else None
    epoch = selection.epoch(history) if selection else None
    shown = selection or lowest_loss(history)
    values = [value if is_number(value) else None for value in shown.values(history)]
    return replace(summary, config=config, solver=solver_of(config) if config else None, epochs=len(history),
                   best=selection.describe(history, epoch) if selection and epoch else None,
                   metric=shown.name if any(value is not None for value in values) else None, curve=values)


def _add_export(summary: FileSummary, file: TorchFile, xp: Experiment, dora_dir: Optional[AnyPath],
                metric: Optional[str]) -> FileSummary:
    summary = replace(summary, status=release_status(xp.folder / RELEASE_FOLDER, xp.folder),
                      odd=[*summary.odd, *_broken_history(xp)])
    try:
        checkpoint = to_checkpoint(file)
        summary = replace(_add_training(summary, checkpoint.config, checkpoint.history, metric), sig=checkpoint.sig,
                          epochs=checkpoint.epochs)
        checkpoint.check_experiment(xp)
        checkpoint.note_missing_epochs(xp)
        plan, refused = _plan(checkpoint, xp.folder, dora_dir, metric)
    except ExportError as exc:
        return replace(summary, refused=str(exc), odd=[*summary.odd, *_unknown_globals(file)])
    return replace(summary, manifest=plan.manifest, plan=plan, refused=refused,
                   status=summary.status if refused else plan.status,
                   odd=[*summary.odd, *plan.manifest.warnings, *_missing_metrics(checkpoint.history)])


def _plan(checkpoint: Checkpoint, xp_folder: Path, dora_dir: Optional[AnyPath],
          metric: Optional[str]) -> tuple[Plan, Optional[str]]:
    """What an export would do, and why not with the compression model, if that alone is missing."""
    folder = xp_folder / RELEASE_FOLDER
    try:
        return plan_export(checkpoint, xp_folder, folder, ExportOptions(metric=metric), dora_dir), None
    except ExportError as exc:
        options = ExportOptions(codec="none", metric=metric)
        return plan_export(checkpoint, xp_folder, folder, options, dora_dir), str(exc)


def _walk_tensors(value: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, LazyTensor]]:
    """The tensors in nested data, by dotted name; what contains itself is entered once."""
    if isinstance(value, LazyTensor):
        yield ".".join(path), value
    elif isinstance(value, (dict, list, tuple)) and id(value) not in seen and len(path) < MAX_SEARCH_DEPTH:
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (LazyTensor, dict, list, tuple)):
                yield from _walk_tensors(item, (*path, str(key)[:MAX_KEY]), seen)


def _broken_history(xp: Experiment) -> Iterator[str]:
    if xp.is_history_broken:
        yield f"{HISTORY} is broken: it says nothing of any epoch"


def _missing_metrics(history: Sequence[Any]) -> Iterator[str]:
    best = Selection().best(history)
    if best is not None and not any(map(is_number, best["valid"].values())):
        yield f"the validation of epoch {best['epoch']} gave no number"


def _unknown_globals(file: TorchFile) -> Iterator[str]:
    if file.unknown_globals:
        yield f"names that mean nothing here, neither imported nor released: {listing(file.unknown_globals, 20)}"


def _shared_storages(tensors: Mapping[str, LazyTensor]) -> Iterator[str]:
    names: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor.blob), []).append(name)
    shared = [each for each in names.values() if len(each) > 1]
    if shared:
        yield f"{sum(map(len, shared))} tensors share {len(shared)} storages, such as {listing(shared[0], 3)}"


def _check_values(summary: FileSummary) -> FileSummary:
    """Read all values, for damage and for those that are not finite."""
    found = dict(count_nonfinite(summary.tensors))
    counts = {name: count for name, count in found.items() if isinstance(count, int) and count}
    damaged = [f"{name}: {exc}" for name, exc in found.items() if not isinstance(exc, int)]
    odd = [f"{name} holds {count} numbers that are NaN or infinite" for name, count in counts.items()]
    return replace(summary, odd=[*summary.odd, *damaged, *odd], nonfinite=sum(counts.values()))


def _read_config(path: Path) -> Optional[Config]:
    return Config.load(path).with_choices(path.parent / HYDRA_SETTINGS.name) if os.path.isfile(path) else None


def _flatten(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flatten(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(value, ensure_ascii=False, default=str)
