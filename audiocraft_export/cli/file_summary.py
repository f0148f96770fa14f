"""What is in a file: where its bytes are, which tensors, what would be released of it; reads no weight unless asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, to_checkpoint
from ..checkpoint.nonfinite import NonfiniteCounter
from ..checkpoint.tensor import LazyTensor
from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, ExportError, listing
from ..experiment.config import Config
from ..experiment.xp import HYDRA_CONFIG, MANIFEST, AnyPath, Experiment
from ..formats.safetensors.file import read_safetensors
from ..options import RELEASE_FOLDER, ExportOptions
from ..pipeline.export import plan_export
from ..release.families.registry import CODEC_FILE, family_of, solver_of
from ..release.manifest import Manifest
from ..release.metrics import best_epoch, is_number
from ..release.report import Plan

OTHER = "everything else"
SAFETENSORS = ".safetensors"
TRAINING, RELEASE, EXPERIMENT = "training checkpoint", "release", "experiment"
NESTED = (LazyTensor, dict, list, tuple)
MOST_DEPTH, MOST_KEY = 100, 200  # of what is looked at; characters of a key that is shown


@dataclass(frozen=True)
class FileSummary:
    """What is in a file.

    Args:
        kind: `training checkpoint` or `release`; `experiment` for one that has stored none.
        path: of the file, or of the XP folder.
        nbytes: its size; 0 of a folder.
        sections: how many bytes of it each of its sections takes; bytes that two share count in the first.
        tensors: by their dotted name.
        sig: Dora's signature.
        solver: that of its configuration.
        config: its configuration, if it has one.
        epochs: how many are done.
        curve: its value in each epoch, None where it has none.
        best: metric, epoch and validation metrics of the best epoch.
        manifest: of the release that it is, or would be.
        plan: what an export of a training checkpoint would do.
        refused: why there can be none.
        odd: what is odd about it.
    """

    kind: str
    path: Path
    nbytes: int
    sections: Mapping[str, int]
    tensors: Mapping[str, LazyTensor]
    sig: Optional[str] = None
    solver: Optional[str] = None
    config: Optional[Config] = None
    epochs: Optional[int] = None
    curve: Sequence[Optional[float]] = ()
    best: Optional[Mapping[str, Any]] = None
    manifest: Optional[Manifest] = None
    plan: Optional[Plan] = None
    refused: Optional[str] = None
    odd: list[str] = field(default_factory=list)

    @property
    def metric(self) -> Optional[str]:
        """The validation metric by which the best epoch is chosen."""
        return self.best["metric"] if self.best else None

    def to_dict(self, most: Optional[int] = None) -> dict[str, Any]:
        """Plain data for JSON.

        Args:
            most: how many tensors, the largest ones.
        """
        return {
            "kind": self.kind, "path": str(self.path), "bytes": self.nbytes, "sig": self.sig, "solver": self.solver,
            "epochs": self.epochs, "sections": dict(self.sections), "metric": self.metric, "curve": [*self.curve],
            "best": self.best,
            "tensors": [{"name": name, "dtype": tensor.dtype, "shape": [*tensor.shape], "bytes": tensor.nbytes}
                        for name, tensor in self.largest(most)],
            "release": self.plan.to_dict() if self.plan else self.manifest.to_dict() if self.manifest else None,
            "refused": self.refused, "odd": self.odd,
        }

    def largest(self, most: Optional[int] = None) -> list[tuple[str, LazyTensor]]:
        """The largest tensors, with their names."""
        return sorted(self.tensors.items(), key=lambda item: -item[1].nbytes)[:most]


def inspect(path: Path, xp: Optional[Experiment] = None, dora_dir: Optional[AnyPath] = None,
            values: bool = False) -> FileSummary:
    """Look into a training checkpoint, or a file of a release.

    Args:
        path: the file.
        xp: the experiment that it has to belong to.
        dora_dir: the Dora folder in which a compression model of the form `//sig/` is looked up, if it is not in it.
        values: whether to read all weights: for NaN and infinity, and for damage.

    Raises:
        CheckpointError: if it is no intact file of torch.save that holds a dict, nor one of safetensors.
    """
    if path.suffix == SAFETENSORS:
        return _portable(path, values)
    file = TorchFile.read(path)
    sections, tensors = _contents(file)
    odd = [*_shared(tensors), *(_odd_values(tensors) if values else ())]
    if "exported" in file.state:
        found = FileSummary(RELEASE, path, file.source.bytes, sections, tensors, config=_config(file.state),
                           odd=[*odd, *_strangers(file)])
        return _release(found, is_codec=path.name == CODEC_FILE)
    return _training(file, xp or Experiment(path.absolute().parent, None), dora_dir, sections, tensors, odd)


def inspect_experiment(xp: Experiment) -> FileSummary:
    """Look at an experiment that has stored no checkpoint: what Dora and Hydra have written of it.

    Args:
        xp: the experiment.

    Raises:
        CheckpointError: if its configuration cannot be read.
    """
    path, history = xp.folder / HYDRA_CONFIG, xp.history
    config = Config.load(path) if os.path.isfile(path) else None
    best = best_epoch(history, family_of(config).metrics if config else ())
    return FileSummary(EXPERIMENT, xp.folder, 0, {}, {}, sig=xp.sig, solver=solver_of(config) if config else None,
                      config=config, epochs=len(history), curve=_curve(history, best), best=best,
                      refused="it has no checkpoint: train it first.", odd=[*_no_numbers(best)])


def differences(one: Config, other: Config) -> list[tuple[str, str, str]]:
    """The dotted keys that two configurations do not have in common, and what each has there: JSON, unresolved."""
    left, right = dict(_flat(one.values, "")), dict(_flat(other.values, ""))
    return [(key, left.get(key, ""), right.get(key, "")) for key in sorted({*left, *right})
            if left.get(key) != right.get(key)]


def _portable(path: Path, values: bool) -> FileSummary:
    """A file of safetensors, and the configuration that lies beside it."""
    tensors = dict(read_safetensors(path).tensors)
    is_codec = path.name.startswith("compression_")
    nbytes, used = os.path.getsize(path), sum(tensor.nbytes for tensor in tensors.values())
    config = path.with_name("compression_config.yaml" if is_codec else "config.yaml")
    found = FileSummary(RELEASE, path, nbytes, {"tensors": used, OTHER: nbytes - used}, tensors,
                       config=Config.load(config) if os.path.isfile(config) else None,
                       odd=[*(_odd_values(tensors) if values else ())])
    return _release(found, is_codec)


def _release(found: FileSummary, is_codec: bool) -> FileSummary:
    """What the manifest beside a file of a release adds."""
    folder, odd = found.path.parent, list(found.odd)
    manifest = Manifest.load_or_none(folder)
    if manifest is None and os.path.isfile(folder / MANIFEST):
        odd.append(f"{MANIFEST} beside it is not what was written: verify says more")
    if manifest is not None and found.path.name not in [each.name for each in manifest.files]:
        manifest = None
    codec = (manifest.codec if manifest is not None and is_codec else None) or {}
    manifest = None if codec else manifest  # all else that it says is of the language model
    if manifest is None:
        return replace(found, sig=codec.get("sig"), odd=odd)
    return replace(found, sig=manifest.sig, solver=manifest.solver, manifest=manifest, epochs=manifest.epoch,
                   best=manifest.best, odd=[*odd, *manifest.warnings, *_no_numbers(manifest.best)])


def _training(file: TorchFile, xp: Experiment, dora_dir: Optional[AnyPath], sections: Mapping[str, int],
              tensors: Mapping[str, LazyTensor], odd: list[str]) -> FileSummary:
    found = FileSummary(TRAINING, file.path, file.source.bytes, sections, tensors)
    try:
        checkpoint = to_checkpoint(file)
        best = best_epoch(checkpoint.history, family_of(checkpoint.config).metrics)
        found = replace(found, sig=checkpoint.sig, solver=solver_of(checkpoint.config), config=checkpoint.config,
                        epochs=len(checkpoint.history), curve=_curve(checkpoint.history, best), best=best)
        checkpoint.check_experiment(xp)
        checkpoint.note_missing_epochs(xp)
        planned, refused = _plan(checkpoint, xp.folder, dora_dir)
        return replace(found, manifest=planned.manifest, plan=planned, refused=refused,
                       odd=[*odd, *planned.manifest.warnings, *_no_numbers(best)])
    except ExportError as exc:
        return replace(found, refused=str(exc), odd=[*odd, *_strangers(file)])


def _plan(checkpoint: Checkpoint, xp_folder: Path, dora_dir: Optional[AnyPath]) -> tuple[Plan, Optional[str]]:
    """What an export would do, and why it cannot be done, if only the compression model is missing."""
    make = partial(plan_export, checkpoint, xp_folder, xp_folder / RELEASE_FOLDER, dora_dir=dora_dir)
    try:
        return make(options=ExportOptions()), None
    except ExportError as exc:
        return make(options=ExportOptions(codec="none")), str(exc)


def _contents(file: TorchFile) -> tuple[dict[str, int], dict[str, LazyTensor]]:
    """The bytes of each section, and all tensors."""
    sections: dict[str, int] = {}
    tensors: dict[str, LazyTensor] = {}
    counted: set[int] = set()
    for section, value in file.state.items():
        found = dict(_walk(value, str(section)[:MOST_KEY]))
        blobs = {id(tensor.blob): tensor.blob for tensor in found.values()}
        name = str(section)[:MOST_KEY]
        nbytes = sum(blob.nbytes for key, blob in blobs.items() if key not in counted)
        sections[name] = sections.get(name, 0) + nbytes
        counted |= set(blobs)
        tensors.update(found)
    sections = {name: nbytes for name, nbytes in sorted(sections.items(), key=lambda item: -item[1]) if nbytes}
    sections[OTHER] = sections.get(OTHER, 0) + file.source.bytes - sum(sections.values())
    return sections, tensors


def _walk(value: Any, name: str) -> Iterator[tuple[str, LazyTensor]]:
    """The tensors in nested data; what contains itself is looked at once, what is nested too deeply not at all."""
    left: list[tuple[Any, tuple[str, ...]]] = [(value, (name,))] if isinstance(value, NESTED) else []
    seen: set[int] = set()
    while left:
        value, path = left.pop()
        if isinstance(value, LazyTensor):
            yield ".".join(path), value
        elif id(value) not in seen and len(path) < MOST_DEPTH:
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            left += reversed([(item, (*path, str(key)[:MOST_KEY])) for key, item in items
                              if isinstance(item, NESTED)])


def _no_numbers(best: Optional[Mapping[str, Any]]) -> list[str]:
    if best is None or any(map(is_number, best["valid"].values())):
        return []
    return [f"the validation of epoch {best['epoch']} gave no number"]


def _strangers(file: TorchFile) -> list[str]:
    names = listing(file.unknown_globals, 20)
    return [f"names that mean nothing here, neither imported nor released: {names}"] if names else []


def _shared(tensors: Mapping[str, LazyTensor]) -> Iterator[str]:
    views: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        views.setdefault(id(tensor.blob), []).append(name)
    shared = [names for names in views.values() if len(names) > 1]
    if shared:
        yield f"{sum(map(len, shared))} tensors share {len(shared)} storages, such as {listing(shared[0], 3)}"


def _odd_values(tensors: Mapping[str, LazyTensor]) -> Iterator[str]:
    watches: dict[int, tuple[str, NonfiniteCounter]] = {}
    for name, tensor in tensors.items():
        watches.setdefault(id(tensor.blob), (name, NonfiniteCounter(tensor.blob, tensor.dtype)))
    for name, watch in watches.values():
        try:
            watch.blob.verify()
        except CheckpointError as exc:
            yield f"{name}: {exc}"
        if watch.count:
            yield f"{name} holds {watch.count} numbers that are NaN or infinite"


def _config(state: Mapping[Any, Any]) -> Optional[Config]:
    text = state.get("xp.cfg")
    return Config.parse(text) if isinstance(text, str) else None


def _curve(history: Sequence[Any], best: Optional[Mapping[str, Any]]) -> list[Optional[float]]:
    metric = best["metric"] if best else None
    stages = [epoch.get("valid") if isinstance(epoch, dict) else None for epoch in history]
    found = [valid.get(metric) if isinstance(valid, dict) else None for valid in stages]
    return [value if is_number(value) else None for value in found]


def _flat(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(value, ensure_ascii=False, default=str)
