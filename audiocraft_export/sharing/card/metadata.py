"""The front matter that the Hub reads: what is ours of it, and how it is merged with what a person wrote."""

from collections.abc import Mapping
from typing import Any, Optional

from .history import by_importance
from .limits import MAX_RESULTS
from .model_types import GENERAL, TASKS
from .source import CardSource

MODEL_INDEX, TAGS = "model-index", "tags"
DATASET = "validation data of the training"  # the results under this name are ours
OURS = ("library_name", "pipeline_tag", TAGS, MODEL_INDEX)
OF_THE_RUN = ("duration", "lr", "grad_norm", "rtf")  # metrics that say nothing of the model
LOADED_BY_AUDIOCRAFT = ("musicgen", "audiogen", "magnet")  # tags by which the Hub shows how
Metadata = dict[str, Any]


def metadata_of(source: CardSource) -> Metadata:
    """The front matter of a release, as `huggingface_hub.ModelCardData` has it; never a license."""
    from huggingface_hub import ModelCardData
    task = TASKS.get(source.architecture or "", source.model_type.task)
    results = _results(source, task)
    data = ModelCardData(library_name=_library(source), pipeline_tag=task, tags=_tags(source),
                         model_name=source.title if results else None, eval_results=results or None)
    return dict(data.to_dict())  # type: ignore[no-untyped-call]


def merge(theirs: Mapping[Any, Any], ours: Metadata, last: Metadata) -> dict[Any, Any]:
    """Update the front matter of a card; what differs from that of the last export is of a person, and stays."""
    result = dict(theirs)
    for key in OURS:
        value = _merge_value(key, theirs.get(key), ours.get(key), last.get(key))
        if value is not None:
            result[key] = value
        elif key in last:
            result.pop(key, None)
    return result


def to_remember(ours: Metadata) -> Metadata:
    """What the next export has to know of what this one wrote."""
    return {key: True if key == MODEL_INDEX else value for key, value in ours.items()}


def _merge_value(key: str, theirs: Any, ours: Any, last: Any) -> Any:
    if key == TAGS and isinstance(theirs, (str, list, type(None))):
        return _merge_tags([theirs] if isinstance(theirs, str) else theirs or [], ours or [], last)
    if theirs is None:
        return ours if last is None else None
    if key == MODEL_INDEX:
        return _merge_results(theirs, ours) if isinstance(theirs, list) and all(map(_has_results, theirs)) else theirs
    return ours if theirs == last else theirs


def _merge_tags(theirs: list[Any], ours: list[Any], last: Any) -> Optional[list[Any]]:
    """Tags of a person as they are, and ours where the last ones were or behind them, but for those they deleted."""
    last = {tag for tag in last if isinstance(tag, str)} if isinstance(last, list) else set()
    kept = [tag for tag in theirs if tag in ours or not isinstance(tag, str) or tag not in last]
    tags = [*kept, *(tag for tag in ours if tag not in kept and tag not in last)]
    return tags or None


def _merge_results(theirs: list[dict[Any, Any]], ours: Any) -> Optional[list[Any]]:
    """The results of a person as they are, and ours behind them."""
    entries = [{**entry, "results": [each for each in entry.get("results") or [] if not _is_ours(each)]}
               for entry in theirs]
    first, *others = [entry for entry in entries if entry["results"]] or [{}]
    if not first:
        return list(ours) if ours else None
    return [{**first, "results": [*first["results"], *(ours[0]["results"] if ours else [])]}, *others]


def _has_results(entry: Any) -> bool:
    """Whether an entry of a model index is what the Hub takes; what a person wrote otherwise stays as it is."""
    return isinstance(entry, dict) and isinstance(entry.get("results"), (list, type(None)))


def _is_ours(result: Any) -> bool:
    dataset = result.get("dataset") if isinstance(result, dict) else None
    return isinstance(dataset, dict) and dataset.get("name") == DATASET


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
    """The metrics of the best epoch as the Hub's evaluation results; none for the weights of another epoch."""
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
