"""Generate the front matter of a card for the Hub, and merge it with manual edits."""

import re
from collections.abc import Mapping
from typing import Any, Optional

from ...release.manifest import CURVE_FILE
from .history import by_importance
from .limits import MAX_RESULTS
from .model_types import GENERAL, TASKS
from .source import CardSource

MODEL_INDEX, TAGS = "model-index", "tags"
DATASET = "validation data of the training"  # name that identifies generated results
GENERATED = ("library_name", "pipeline_tag", TAGS, MODEL_INDEX)
OF_THE_RUN = ("duration", "lr", "grad_norm", "rtf")  # metrics of the training run, not of the model
LOADED_BY_AUDIOCRAFT = ("musicgen", "audiogen", "magnet")  # tags for which the Hub shows loading code
Metadata = dict[str, Any]


def metadata_of(source: CardSource) -> Metadata:
    """Generate the front matter of a release with `huggingface_hub.ModelCardData`; a license is never generated."""
    from huggingface_hub import ModelCardData
    task = TASKS.get(source.architecture or "", source.model_type.task)
    results = _results(source, task)
    data = ModelCardData(library_name=_library(source), pipeline_tag=task, tags=_tags(source),
                         model_name=source.title if results else None, eval_results=results or None)
    return dict(data.to_dict())  # type: ignore[no-untyped-call]


def merge(theirs: Mapping[Any, Any], ours: Metadata, last: Metadata) -> dict[Any, Any]:
    """Merge generated front matter (`ours`) into that of a card (`theirs`).

    Values that differ from those of the previous export (`last`) are manual edits, and are kept.
    """
    result = dict(theirs)
    for key in GENERATED:
        value = _merge_value(key, theirs.get(key), ours.get(key), last.get(key))
        if value is not None:
            result[key] = value
        elif key in last:
            result.pop(key, None)
    return result


def to_remember(ours: Metadata, curve: Optional[str] = None) -> Metadata:
    """Return the metadata by which the next export distinguishes manual edits from generated values.

    Args:
        ours: the generated front matter.
        curve: the SHA-256 of the training curve, if any.
    """
    kept = {key: value[0]["name"] if key == MODEL_INDEX else value for key, value in ours.items()}
    return {**kept, CURVE_FILE: curve} if curve else kept


def _merge_value(key: str, theirs: Any, ours: Any, last: Any) -> Any:
    """Return the merged value of a key; None removes the key if the previous export wrote it."""
    if key == TAGS and isinstance(theirs, (str, list, type(None))):
        return _merge_tags([theirs] if isinstance(theirs, str) else theirs or [], ours or [], last)
    if theirs is None:
        return ours if last is None else None
    if key == MODEL_INDEX:
        is_known = isinstance(theirs, list) and all(map(_has_results, theirs))
        return _merge_results(theirs, ours, last) if is_known else theirs
    return ours if theirs == last else theirs


def _merge_tags(theirs: list[Any], ours: list[Any], last: Any) -> Optional[list[Any]]:
    """Keep tags that people added and append new generated ones, except those that people deleted."""
    last = {tag for tag in last if isinstance(tag, str)} if isinstance(last, list) else set()
    kept = [tag for tag in theirs if tag in ours or not isinstance(tag, str) or tag not in last]
    tags = [*kept, *(tag for tag in ours if tag not in kept and tag not in last)]
    return tags or None


def _merge_results(theirs: list[dict[Any, Any]], ours: Any, last: Any) -> Optional[list[Any]]:
    """Keep results and metrics that people added, and append the generated ones; keep a name unlike the last one."""
    entries = [{**entry, "results": [*filter(None, map(_without_generated, entry.get("results") or []))]}
               for entry in theirs]
    first, *others = [entry for entry in entries if entry["results"]] or [{}]
    if not first:
        name = theirs[0].get("name") if theirs else None
        named = {} if name in (None, last) else {"name": name}
        return [{**entry, **named} for entry in ours] if ours else None
    return [{**first, "results": [*first["results"], *(ours[0]["results"] if ours else [])]}, *others]


def _has_results(entry: Any) -> bool:
    """Return whether an entry of a model index has the structure that the Hub expects; others are kept unchanged."""
    return isinstance(entry, dict) and isinstance(entry.get("results"), (list, type(None)))


def _without_generated(result: Any) -> Any:
    """Return an evaluation result without the metrics that an export generated; None if it has no others."""
    dataset = result.get("dataset") if isinstance(result, dict) else None
    if not isinstance(dataset, dict) or dataset.get("name") != DATASET:
        return result
    metrics = result.get("metrics")
    added = [each for each in metrics if not _is_generated(each)] if isinstance(metrics, list) else []
    return {**result, "metrics": added} if added else None


def _is_generated(metric: Any) -> bool:
    return isinstance(metric, dict) and bool(re.fullmatch(rf"{re.escape(str(metric.get('type')))} after epoch \d+",
                                                          str(metric.get("name"))))


def _library(source: CardSource) -> Optional[str]:
    if source.format == "transformers":
        return "transformers"
    return None if source.model_type is GENERAL else "audiocraft"


def _tags(source: CardSource) -> list[str]:
    if source.format == "audiocraft":
        return [*source.model_type.tags]
    tags = [tag for tag in source.model_type.tags if tag not in LOADED_BY_AUDIOCRAFT]
    return [*tags, "safetensors"] if source.format == "safetensors" else tags


def _results(source: CardSource, task: Optional[str]) -> list[Any]:
    """Return the metrics of the best epoch as evaluation results; empty if other weights are released."""
    from huggingface_hub import EvalResult
    best = source.manifest.known_best
    if not best:
        return []
    valid = best["valid"]
    names = [name for name in by_importance([*valid], best.get("metric"))
             if name.isprintable() and name and name not in OF_THE_RUN]
    return [EvalResult(task_type=task or "other", dataset_type="custom", dataset_name=DATASET, dataset_split="valid",
                       metric_type=name, metric_name=f"{name} after epoch {best['epoch']}",
                       metric_value=float(f"{valid[name]:.6g}")) for name in names[:MAX_RESULTS]]
