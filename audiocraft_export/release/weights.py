"""Select the weights of a release from a checkpoint.

The rules are those of AudioCraft: `fsdp_best_state` is the whole model where `best_state` is only the
shard of rank zero (`audiocraft.solvers.base.StandardSolver`, `audiocraft.utils.export.export_lm`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Optional

from ..checkpoint.allowlist import UnknownGlobal, describe_type
from ..checkpoint.checkpoint import EXPERIMENT_KEYS, Checkpoint
from ..checkpoint.state_dict import compact, map_tensors, named_tensors, view_of
from ..checkpoint.tensor import LazyTensor, holds_tensor, iter_tensors
from ..checkpoint.wrappers import bare_names, strip_wrappers, wrapper_warnings
from ..errors import CheckpointError, OptionError, alternatives, coded_warning, listing
from ..experiment.config import Config
from ..experiment.walk import find
from .limits import MAX_OFFERED_DEPTH, MAX_OFFERS, MAX_SHOWN_NAME

# The sections of the values of the option `weights`; `_SHORT` is the inverse.
SECTIONS = {"best": ("best_state", "fsdp_best_state"), "last": ("model",), "ema": ("ema",)}
_SHORT = {name: which for which, names in SECTIONS.items() for name in names}
OFF = ("", "0", "disabled", "f", "false", "n", "no", "none", "null", "off")


class _MissingWeights(CheckpointError):
    """The requested weights are missing; `select_weights` adds the hint that names other weights."""


@dataclass(frozen=True)
class Weights:
    """The weights of a release."""

    state: Mapping[str, Any]  # tensors by name, nested as in the solver's best state
    section: str  # its name in the checkpoint
    reason: str  # why this section was selected, for the manifest
    notes: tuple[str, ...] = ()  # coded warnings about the weights

    @property
    def tensors(self) -> dict[str, LazyTensor]:
        """The tensors by dotted name."""
        return named_tensors(self.state)

    def compact(self, dtype: Optional[str] = None) -> Weights:
        """Return the weights with compact tensors, cast to a dtype, as `checkpoint.state_dict.compact`.

        Raises:
            CheckpointError: if expanded views need far more bytes than are stored.
        """
        return replace(self, state=compact(self.state, self.section, dtype))

    @property
    def parameters(self) -> int:
        """Number of elements in the tensors; tied tensors count once."""
        return sum({(id(tensor.blob), tensor.dtype): tensor.numel for tensor in self.tensors.values()}.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """Number of tensors by dtype."""
        return dict(sorted(Counter(tensor.dtype for tensor in self.tensors.values()).items()))


def select_weights(checkpoint: Checkpoint, which: str, of_audiocraft: bool = False) -> Weights:
    """Select the weights of a release.

    A best state may have several parts. All of them are released, except for a model of AudioCraft: its loaders take
    only the part `model`, without the prefixes of torch.compile and DDP. Warnings name what is left out or renamed.

    Args:
        checkpoint: a checkpoint file or the state of a solver.
        which: `best`, `ema`, `last`, or SECTION[.PART] of the checkpoint.
        of_audiocraft: whether AudioCraft's loaders must be able to load the weights.

    Raises:
        CheckpointError: if the weights are missing, unsupported or only a shard; the hint names weights that exist.
    """
    try:
        return _select(checkpoint, which, of_audiocraft)
    except _MissingWeights as exc:
        offer = _offer(checkpoint, which, of_audiocraft)
        if offer is None:
            raise CheckpointError(exc.code, f"{exc.message}, and no other section has weights that can be "
                                  "released") from None
        raise CheckpointError(exc.code, exc.message, offer) from None
    except CheckpointError as exc:
        offer = _offer(checkpoint, which, of_audiocraft)
        if offer is None or checkpoint.file is None:
            raise
        raise CheckpointError(exc.code, exc.message, f"{exc.hint}, or {offer}" if exc.hint else offer) from None


def refuse_missing_weights(config: Config, which: str) -> None:
    """Refuse weights that a training with this configuration never stores, before it starts.

    Raises:
        OptionError: if `which` is `ema` and the training has no EMA, or if FSDP stores these weights in shards.
    """
    with suppress(CheckpointError):  # A value that cannot be resolved yet is checked again by the export itself.
        if which == "ema" and _is_off(config.get("optim.ema.use", True)):
            raise OptionError("missing-weights", "weights=ema requires an EMA, but the configuration has "
                              "optim.ema.use=false", "use weights=best or weights=last, or train with "
                              "optim.ema.use=true")
        if which != "best" and not which.startswith("fsdp_best_state") and not _is_off(_fsdp_option(config)):
            raise OptionError("sharded-weights", f"weights={which} cannot be exported from a training with FSDP: each "
                              "rank stores only its own shard", "use weights=best")


def refuse_unstored_weights(sections: Collection[str], which: str) -> None:
    """Refuse weights of a section that a training does not store.

    Args:
        sections: the names of the sections that the training stores.
        which: the option `weights`.

    Raises:
        OptionError: if the section is missing; the hint names weights that are stored.
    """
    stored = [name for name in sections if name not in EXPERIMENT_KEYS]
    needed = SECTIONS.get(which, ())
    if not any(name in needed or which == name or which.startswith(f"{name}.") for name in stored):
        offers = dict.fromkeys(f"weights={_SHORT[name]}" for name in stored  # an EMA of another model has other parts
                               if name in _SHORT and (name != "ema" or "model" in stored))
        raise OptionError("missing-weights", f"weights={which} requires a section that this training does not store; "
                          f"it stores {listing(stored) or 'none'}",
                          f"use {' or '.join(offers) or 'weights=SECTION or weights=SECTION.PART'}" if stored else "")


def available_weights(checkpoint: Checkpoint, of_audiocraft: bool = False) -> list[str]:
    """Return values of the option `weights` with which a checkpoint file can be exported, in the order of the file.

    Args:
        checkpoint: the file.
        of_audiocraft: as in `select_weights`.
    """
    found = [*islice(_selectable(checkpoint, of_audiocraft, checkpoint.state), MAX_OFFERS)]
    if not found and _can_be_selected(checkpoint, "best", of_audiocraft):  # a bare state dict
        found = ["best"]
    return [*dict.fromkeys(found)]


def has_latest_values(checkpoint: Checkpoint, section: str) -> bool:
    """Return whether a checkpoint file has all tensors of a best state also in its latest model or EMA, by CRC-32."""
    if checkpoint.file is None:
        return False
    best = checkpoint.state[section]
    latest = {_content_of(tensor) for name in ("model", "ema", *best)
              for tensor in iter_tensors(checkpoint.state.get(name))}
    return all(_content_of(tensor) in latest for tensor in iter_tensors(best))


def _select(checkpoint: Checkpoint, which: str, of_audiocraft: bool) -> Weights:
    """Select weights as `select_weights`; raise `_MissingWeights` if the checkpoint may have other weights."""
    if which != "best" and not which.startswith("fsdp_best_state") and _is_sharded(checkpoint):
        raise _MissingWeights("sharded-weights", f"weights={which} of {checkpoint.where} cannot be exported: the "
                              "training used FSDP, where each rank stores only its own shard")
    if which in ("best", "last") and _is_bare(checkpoint):
        state = {name: value for name, value in checkpoint.state.items() if name not in EXPERIMENT_KEYS}
        weights = Weights(state, "state dict", "the only weights in the file")
    elif which in _SELECTORS and not _is_only_a_name(checkpoint, which):
        weights = _SELECTORS[which](checkpoint)
    else:
        weights = _select_section(checkpoint, which)
    if which != "last":
        weights = _take_model(weights, of_audiocraft)
    names: list[str] = []
    map_tensors(lambda name, tensor: names.append(name), weights.state)
    if not names:
        raise _MissingWeights("missing-weights", f"{weights.section} of {checkpoint.where} has no tensors")
    if len({*names}) < len(names):
        raise CheckpointError("unsupported-weights", f"{weights.section} of {checkpoint.where} has two tensors with "
                              f"the name {Counter(names).most_common(1)[0][0]!r}", "rename one of them in the model")
    if not of_audiocraft:
        return replace(weights, notes=(*weights.notes, *wrapper_warnings(weights.state, weights.section)))
    if parts := _parts(weights.state):
        raise CheckpointError("unexpected-parts", f"{weights.section} of {checkpoint.where} has several parts "
                              f"({listing(parts)}), but AudioCraft's loaders expect a single state dict",
                              "use family=general to release all parts")
    state, notes = strip_wrappers(weights.state, weights.section)
    return replace(weights, state=state, notes=(*weights.notes, *notes))


def _select_best(checkpoint: Checkpoint) -> Weights:
    """Return the best state: gathered from all FSDP ranks (`fsdp_best_state`) if possible, else `best_state`."""
    gathered = checkpoint.state.get("fsdp_best_state")
    if isinstance(gathered, dict) and holds_tensor(gathered):
        sharded = checkpoint.state.get("best_state") if checkpoint.file and _parts(gathered) else None
        missing = [part for part in _parts(sharded) if part not in gathered]
        notes = [coded_warning("weights-left-out", f"{listing(missing)} of best_state not released: missing in "
                               "fsdp_best_state")]
        return Weights(gathered, "fsdp_best_state", "best state, gathered from all FSDP ranks",
                       tuple(notes if missing else ()))
    if _is_sharded(checkpoint):
        raise CheckpointError("sharded-weights", f"fsdp_best_state of {checkpoint.where} is empty, and best_state is "
                              "only the shard of one rank (the training used FSDP)",
                              "export the checkpoint of rank 0 after a validation")
    stored = checkpoint.state.get("best_state")
    if isinstance(stored, dict) and stored:
        return Weights(stored, "best_state", "best state of the solver")
    if isinstance(stored, UnknownGlobal):
        raise _MissingWeights("unsupported-weights", f"best_state of {checkpoint.where} is {describe_type(stored)}: "
                              "expected a state dict")
    if "best_state" in checkpoint.state:
        raise _MissingWeights("missing-weights", f"best_state of {checkpoint.where} is empty: the solver has kept no "
                              "best state yet")
    raise _MissingWeights("missing-weights", f"{checkpoint.where} has no best_state; it has {checkpoint.sections_text}")


def _take_model(weights: Weights, of_audiocraft: bool) -> Weights:
    """Unwrap the part `model` if it is the only part, or if AudioCraft's loaders expect it."""
    state = weights.state
    if not isinstance(state.get("model"), dict) or len(state) > 1 and not of_audiocraft:
        return weights
    left_out = [str(name)[:MAX_SHOWN_NAME] for name in state if name != "model"]
    notes = [coded_warning("weights-left-out", f"{listing(left_out)} of {weights.section} not released: AudioCraft's "
                           "loaders take only `model`; use family=general to release all parts")]
    return replace(weights, state=state["model"], notes=(*weights.notes, *(notes if left_out else ())))


def _parts(state: Any) -> list[str]:
    """Return the names of the nested parts that have tensors; empty for a state dict."""
    return [str(name)[:MAX_SHOWN_NAME] for name, part in state.items() if isinstance(part, (dict, list, tuple))
            and not str(name).endswith("_extra_state") and holds_tensor(part)] if isinstance(state, dict) else []


def _select_last(checkpoint: Checkpoint) -> Weights:
    model = checkpoint.state.get("model")
    if not isinstance(model, dict) or not model:
        raise _MissingWeights("missing-weights", f"{checkpoint.where} has no weights in `model`; its sections are "
                              f"{checkpoint.sections_text}")
    return Weights(model, "model", "latest weights, as requested")


def _select_ema(checkpoint: Checkpoint) -> Weights:
    """Return the EMA of the model, completed with tensors of the model that are not averaged."""
    section: Any = checkpoint.state.get("ema")
    averages = find(section, ("state", "model"))
    if not averages and _has_tensors(section):
        if not _share_names(section, checkpoint.state.get("model")):
            return _select_section(checkpoint, "ema")
        averages = section
    if not isinstance(averages, dict) or not averages:
        raise _MissingWeights("missing-weights", f"{checkpoint.where} has no EMA of the model")
    model = _select_last(checkpoint).state
    state, lacking = _with_averages(model, averages)
    if lacking:
        raise _MissingWeights("missing-weights", f"The EMA of {checkpoint.where} lacks {lacking[0]!r} of the model")
    return Weights(state, "ema", "latest EMA, as requested")


def _share_names(one: Mapping[str, Any], other: Any) -> bool:
    """Return whether two state dicts have a tensor of the same name, apart from the prefixes of wrappers."""
    return isinstance(other, dict) and bool({*bare_names(one).values()} & {*bare_names(other).values()})


def _with_averages(model: Mapping[str, Any], averages: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Replace the tensors of a model by their averages, found by name, by the name without prefixes, or by their view.

    The EMA has only one name of tied tensors, because `named_parameters` skips further names.

    Returns:
        The nested state, and the names of floating-point tensors without an average. No average is expected of extra
        state (`Module.get_extra_state`).
    """
    tensors = named_tensors(model)
    averaged = named_tensors({name: part for name, part in averages.items() if holds_tensor(part)})
    bare, by_bare = bare_names(tensors), {bare: averaged[name] for name, bare in bare_names(averaged).items()}
    found = {name: averaged.get(name) or by_bare.get(bare[name]) for name in tensors}
    by_view = {view_of(tensors[name]): average for name, average in found.items() if average}
    found = {name: average or by_view.get(view_of(tensors[name])) for name, average in found.items()}
    lacking = [name for name, average in found.items() if average is None and tensors[name].is_floating_point
               and "_extra_state" not in name.split(".")]
    state: dict[str, Any] = map_tensors(lambda name, tensor: found[name] or tensor, model)
    return state, lacking


def _select_section(checkpoint: Checkpoint, which: str) -> Weights:
    state = _find_section(checkpoint.state, which)
    if not isinstance(state, dict) or not state:
        raise _MissingWeights("missing-weights", f"{checkpoint.where} has no section {which} with tensors")
    return Weights(state, which, "section of the checkpoint, as requested")


_SELECTORS = {"best": _select_best, "ema": _select_ema, "last": _select_last}


def _is_only_a_name(checkpoint: Checkpoint, which: str) -> bool:
    """Return whether `best` or `last` names a section of the checkpoint, because the usual sections are missing."""
    others = SECTIONS.get(which, ())
    return which in checkpoint.state and bool(others) and not any(name in checkpoint.state for name in others)


def _is_bare(checkpoint: Checkpoint) -> bool:
    """Return whether the file is a bare state dict: tensors by name, without sections."""
    state = checkpoint.state
    return checkpoint.file is not None and not _parts(state) and _has_tensors(state)


def _has_tensors(state: Any) -> bool:
    """Return whether a value is a mapping that has tensors itself, not only in its parts."""
    return isinstance(state, dict) and any(isinstance(value, LazyTensor) for value in state.values())


def _find_section(state: Mapping[Any, Any], path: str) -> Any:
    """Return the value at a dotted path, or None; names may contain dots themselves."""
    if path in state:
        return state[path]
    for name in state:
        inner = state[name] if isinstance(name, str) and path.startswith(f"{name}.") else None
        found = _find_section(inner, path[len(name) + 1:]) if isinstance(inner, dict) else None
        if found is not None:
            return found
    return None


def _offer(checkpoint: Checkpoint, which: str, of_audiocraft: bool) -> Optional[str]:
    """Return a hint that names weights which can be exported instead of `which`, or None."""
    if checkpoint.file is None:  # The state_dict() of a section of a solver may be a collective call of all ranks.
        if _is_sharded(checkpoint):
            return "use weights=best"
        has_last = "model" in checkpoint.state and which not in ("last", "model")
        return "use weights=last for the latest weights" if has_last else "use weights=SECTION with another section"
    found = available_weights(checkpoint, of_audiocraft)
    return f"use {alternatives([f'weights={each}' for each in found])}" if found else None


def _selectable(checkpoint: Checkpoint, of_audiocraft: bool, state: Mapping[Any, Any], path: str = "") -> Iterator[str]:
    """List the values of `weights` that can be exported: sections, or parts of a section that cannot be exported."""
    for name, section in state.items():
        if not isinstance(name, str) or len(path + name) > MAX_SHOWN_NAME or not isinstance(section, dict) \
                or "param_groups" in section or not holds_tensor(section):  # An optimizer has `param_groups`.
            continue
        which = f"{path}{name}" if path else _SHORT.get(name, name)
        if _can_be_selected(checkpoint, which, of_audiocraft):
            yield which
        elif path.count(".") < MAX_OFFERED_DEPTH and not (which == "ema" and checkpoint.state.get("model")):
            # An EMA that lacks parameters of the model is not a complete model.
            yield from _selectable(checkpoint, of_audiocraft, section, f"{path}{name}.")


def _can_be_selected(checkpoint: Checkpoint, which: str, of_audiocraft: bool) -> bool:
    try:
        return bool(_select(checkpoint, which, of_audiocraft))
    except CheckpointError:
        return False


def _content_of(tensor: LazyTensor) -> tuple[Any, ...]:
    """Return a key to compare tensors of one file: equal keys mean equal values."""
    return tensor.blob.crc, tensor.blob.nbytes, tensor.dtype, tensor.offset, tensor.shape, tensor.stride


def _is_sharded(checkpoint: Checkpoint) -> bool:
    """Return whether the training used FSDP: `fsdp.use`, where a string such as `no` means false.

    AudioCraft treats the string as true, and then stores an `fsdp_best_state`, by which this case is recognized.
    """
    use = _fsdp_option(checkpoint.config)
    if isinstance(use, str) and _is_off(use):
        return holds_tensor(checkpoint.state.get("fsdp_best_state"))
    return bool(use)


def _fsdp_option(config: Config) -> Any:
    """Return the value of `fsdp.use`, or of `fsdp` if that is not a section."""
    fsdp = config.get("fsdp")
    return config.get("fsdp.use") if hasattr(fsdp, "keys") else fsdp


def _is_off(use: Any) -> bool:
    """Return whether an option is false, also if it is a string such as `no`."""
    return use.strip().lower() in OFF if isinstance(use, str) else not use
