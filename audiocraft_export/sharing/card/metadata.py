"""The front matter that the Hub reads: what is ours of it, and how it becomes one with what a person wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ...release.manifest import Manifest
from .history import foremost
from .model_types import GENERAL, TASKS, kind_of, title_of

MODEL_INDEX, TAGS = "model-index", "tags"
DATASET = "validation data of the training"  # the results under this name are ours
OURS = ("library_name", "pipeline_tag", TAGS, MODEL_INDEX)
MOST_METRICS = 12
OF_THE_RUN = ("duration", "lr", "grad_norm", "rtf")  # that say nothing of the model
Data = dict[str, Any]


def metadata_of(manifest: Manifest, format: str, architecture: Optional[str], repo: Optional[str]) -> Data:
    """What the Hub should know, by its names, as `huggingface_hub.ModelCardData` has it; never a license.

    Args:
        manifest: of the release.
        format: of the release.
        architecture: the class of transformers, for that format.
        repo: on the Hub, if it goes there.
    """
    from huggingface_hub import ModelCardData
    kind = kind_of(manifest)
    task = TASKS.get(architecture or "", kind.task)
    results = _results(manifest, task)
    data = ModelCardData(library_name=_library(manifest, format), pipeline_tag=task, tags=_tags(manifest, format),
                         model_name=title_of(manifest, repo) if results else None, eval_results=results or None)
    values: Data = data.to_dict()  # type: ignore[no-untyped-call]
    return values


def merged(theirs: Mapping[Any, Any], ours: Data, before: Data) -> dict[Any, Any]:
    """The front matter of a card that is there, brought up to date: what a person changed stays.

    Args:
        theirs: of the card that is there.
        ours: of the new one.
        before: what the last export wrote: what differs from it, a person has changed or deleted.
    """
    result = dict(theirs)
    for key in OURS:
        value = _merged(key, theirs.get(key), ours.get(key), before.get(key))
        if value is not None:
            result[key] = value
        elif key in before:
            result.pop(key, None)
    return result


def remembered(ours: Data) -> Data:
    """What the next export has to know of what this one wrote."""
    return {key: True if key == MODEL_INDEX else value for key, value in ours.items()}


def _merged(key: str, theirs: Any, ours: Any, before: Any) -> Any:
    if theirs is None:
        return None if before is not None and key != TAGS else ours if key != TAGS else _tags_of([], ours, before)
    if key == TAGS and isinstance(theirs, (str, list)):
        return _tags_of([theirs] if isinstance(theirs, str) else theirs, ours, before)
    if key == MODEL_INDEX and isinstance(theirs, list) and all(isinstance(entry, dict) for entry in theirs):
        return _index_of(theirs, ours)
    return ours if theirs == before else theirs


def _tags_of(theirs: list[Any], ours: Any, before: Any) -> Optional[list[Any]]:
    """Tags of a person as they are, ours where the last ones were or behind them, but for those that were deleted."""
    ours, before = ours or [], before if isinstance(before, list) else []
    kept = [tag for tag in theirs if tag in ours or tag not in before]
    return [*kept, *(tag for tag in ours if tag not in kept and tag not in before)] or None


def _index_of(theirs: list[dict[Any, Any]], ours: Any) -> Optional[list[Any]]:
    """The results of a person as they are, and ours behind them."""
    entries = [{**entry, "results": [each for each in entry.get("results") or [] if not _is_ours(each)]}
               for entry in theirs]
    first, *others = [entry for entry in entries if entry["results"]] or [{}]
    if not first:
        return list(ours) if ours else None
    return [{**first, "results": [*first["results"], *(ours[0]["results"] if ours else [])]}, *others]


def _is_ours(result: Any) -> bool:
    dataset = result.get("dataset") if isinstance(result, dict) else None
    return isinstance(dataset, dict) and dataset.get("name") == DATASET


def _library(manifest: Manifest, format: str) -> Optional[str]:
    return "transformers" if format == "transformers" else None if kind_of(manifest) is GENERAL else "audiocraft"


def _tags(manifest: Manifest, format: str) -> list[str]:
    """The tags; `musicgen` and its like only where AudioCraft loads what lies there, as the Hub then shows."""
    kind = kind_of(manifest)
    shows_how = ("musicgen", "audiogen", "magnet")
    tags = [tag for tag in kind.tags if format == "audiocraft" or tag not in shows_how]
    return [*tags, *(["safetensors"] if format == "safetensors" else [])]


def _results(manifest: Manifest, task: Optional[str]) -> list[Any]:
    """The metrics of the best epoch as the Hub's evaluation results; none for other weights than its."""
    from huggingface_hub import EvalResult
    best = manifest.best if "best_state" in manifest.weights and manifest.best else {}
    valid = best.get("valid") or {}
    names = [name for name in foremost([*valid], best.get("metric"))
             if name.isprintable() and name and name not in OF_THE_RUN]
    return [EvalResult(task_type=task or "other", dataset_type="custom", dataset_name=DATASET, dataset_split="valid",
                       metric_type=name, metric_name=f"{name} after epoch {best['epoch']}",
                       metric_value=float(f"{valid[name]:.6g}")) for name in names[:MOST_METRICS]]
