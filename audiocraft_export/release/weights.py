"""Which weights a release gets, and in what form.

The rules are those of AudioCraft: `fsdp_best_state` is the whole model where `best_state` holds only
the shard of rank zero (`audiocraft.solvers.base.StandardSolver`, `audiocraft.utils.export.export_lm`).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Callable, Optional

from ..checkpoint.allowlist import UnknownGlobal
from ..checkpoint.checkpoint import EXPERIMENT_KEYS, Checkpoint
from ..checkpoint.plain_config import describe_type, remedy
from ..checkpoint.tensor import ITEMSIZE, LazyTensor, contiguous
from ..checkpoint.wrappers import bare_names, strip_wrappers, wrapper_warnings
from ..errors import CheckpointError, OptionError, listing
from ..experiment.config import Config
from ..storage.lazy_bytes import LazyBytes, slice_stream
from .limits import (
    MAX_OFFERED_DEPTH,
    MAX_OFFERS,
    MAX_REPEATED_BYTES,
    MAX_SHOWN_NAME,
    MAX_TENSOR_NAME,
    MAX_TEXT,
    MAX_VALUES,
)

OFF = ("", "0", "disabled", "f", "false", "n", "no", "none", "null", "off")
_NOTHING = "none of its sections holds weights that can be released; export another checkpoint"


class _MissingWeights(CheckpointError):
    """A checkpoint lacks the weights that were asked for; its message has neither a remedy nor a full stop."""


@dataclass(frozen=True)
class Weights:
    """The weights of a release."""

    state: Mapping[str, Any]  # tensors by name; nested where the solver's best state is
    source: str  # section of the checkpoint that they come from
    reason: str  # why from there, for the manifest
    notes: tuple[str, ...] = ()  # what is odd about it

    @property
    def tensors(self) -> dict[str, LazyTensor]:
        """All tensors by their dotted name."""
        found: dict[str, LazyTensor] = {}
        _TensorMapper(found.setdefault)(self.state)
        return found

    @property
    def parameters(self) -> int:
        """Number of elements in the tensors; tied ones count once."""
        return sum({id(tensor.blob): tensor.numel for tensor in self.tensors.values()}.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """Number of tensors by element type."""
        return dict(sorted(Counter(tensor.dtype for tensor in self.tensors.values()).items()))


def select_weights(checkpoint: Checkpoint, which: str, of_audiocraft: bool = False) -> Weights:
    """Choose the weights of a release: `best`, `ema`, `last`, or SECTION[.PART] of the checkpoint.

    Of a best state in several parts all are released, but for a model of AudioCraft, whose loaders take `model` alone;
    its names lose the prefixes of torch.compile and DDP. Notes say what is left out and renamed.

    Raises:
        CheckpointError: if the checkpoint does not have them, or only a shard of them; the message offers others.
    """
    try:
        return _select(checkpoint, which, of_audiocraft)
    except _MissingWeights as exc:
        raise CheckpointError(f"{exc}: {_offer(checkpoint, of_audiocraft) or _NOTHING}.") from None
    except CheckpointError as exc:
        offer = _offer(checkpoint, of_audiocraft)
        if offer is None or checkpoint.file is None:
            raise
        raise CheckpointError(f"{str(exc).rstrip('.')}, or {offer}.") from None


def refuse_missing_weights(config: Config, which: str) -> None:
    """Refuse weights that no training with this configuration can release, as far as it says so.

    Raises:
        OptionError: if they are the average of a training without one, or a shard of FSDP.
    """
    with suppress(CheckpointError):  # what cannot be resolved says nothing
        if which == "ema" and _is_off(config.get("optim.ema.use", True)):
            raise OptionError("weights=ema needs a moving average, and the configuration has optim.ema.use=false: use "
                              "weights=best or weights=last, or train with optim.ema.use=true.")
        if which != "best" and not which.startswith("fsdp_best_state") and not _is_off(_fsdp_option(config)):
            raise OptionError(f"weights={which} cannot be released of a training with FSDP, where every rank stores "
                              "its own shard: use weights=best.")


def refuse_unstored_weights(sections: Collection[str], which: str) -> None:
    """Refuse weights of a section that a training does not store; it stores these.

    Raises:
        OptionError: if it does not store them; the message offers others.
    """
    stored = [name for name in sections if name not in EXPERIMENT_KEYS]
    needed = _SECTIONS.get(which, ())
    if not any(name in needed or which == name or which.startswith(f"{name}.") for name in stored):
        known = {name: short for short, names in _SECTIONS.items() for name in names}
        offers = dict.fromkeys(f"weights={known[name]}" for name in stored if name in known)
        raise OptionError(f"weights={which} needs a section that this training does not store (it stores "
                          f"{listing(stored)}): use {' or '.join(offers) or 'one of these'}.")


def compact(weights: Weights, dtype: Optional[str] = None) -> Weights:
    """Make the tensors contiguous, each over exactly its own bytes; tied tensors stay tied.

    Nothing is read here. `dtype` casts floating point tensors; None is as stored.

    Raises:
        CheckpointError: if they would be far larger than what is stored, as tensors that repeat an element are.
    """
    tensors = weights.tensors.values()
    claimed = sum({_view(tensor): tensor.nbytes for tensor in tensors}.values())
    stored = sum({id(tensor.blob): tensor.blob.nbytes for tensor in tensors}.values())
    if claimed > 2 * stored + MAX_REPEATED_BYTES:
        raise CheckpointError(f"The tensors of {weights.source} claim {claimed} bytes, where {stored} are stored, as "
                              "those of no model do: store them with .contiguous().")
    compacted: dict[Any, LazyBytes] = {}

    def compact_once(name: str, tensor: LazyTensor) -> LazyTensor:
        target = dtype if dtype and tensor.is_floating_point else tensor.dtype
        layout = () if tensor.is_contiguous else (tensor.shape, tensor.stride)
        key = (id(tensor.blob), tensor.dtype, tensor.offset, tensor.numel, tensor.conj, tensor.neg, layout)
        if key not in compacted:
            compacted[key] = _compact_bytes(tensor, target)
        return LazyTensor(compacted[key], target, 0, tensor.shape, contiguous(tensor.shape))

    return replace(weights, state=_TensorMapper(compact_once)(weights.state))


def _select(checkpoint: Checkpoint, which: str, of_audiocraft: bool) -> Weights:
    """As `select_weights`; `_MissingWeights` where other weights are the remedy."""
    if which != "best" and not which.startswith("fsdp_best_state") and _is_sharded(checkpoint):
        raise _MissingWeights(f"{checkpoint.where} was trained with FSDP, where every rank stores its own shard, and "
                              f"weights={which} cannot be released")
    if which in ("best", "last") and _is_bare(checkpoint):
        state = {name: value for name, value in checkpoint.state.items() if name not in EXPERIMENT_KEYS}
        weights = Weights(state, "state dict", "the only weights in the file")
    elif which in _SELECTORS and not _is_only_a_name(checkpoint, which):
        weights = _SELECTORS[which](checkpoint)
    else:
        weights = _select_section(checkpoint, which)
    if which != "last":
        weights = _take_model(weights, of_audiocraft)
    try:
        tensors = weights.tensors
    except RecursionError:
        raise CheckpointError(f"{weights.source} of {checkpoint.where} contains itself or is nested too deeply: "
                              "keep only tensors and plain data in the model's state.") from None
    if not tensors:
        raise _MissingWeights(f"{weights.source} of {checkpoint.where} holds no tensor, as before the first "
                              "validation")
    if not of_audiocraft:
        return replace(weights, notes=(*weights.notes, *wrapper_warnings(weights.state, weights.source)))
    if parts := _parts(weights.state):
        raise CheckpointError(f"{weights.source} of {checkpoint.where} is no state dict, as AudioCraft's loaders take "
                              f"one, but holds parts ({listing(parts)}): use family=general to release all.")
    state, notes = strip_wrappers(weights.state, weights.source)
    return replace(weights, state=state, notes=(*weights.notes, *notes))


def _select_best(checkpoint: Checkpoint) -> Weights:
    gathered = checkpoint.state.get("fsdp_best_state")
    if isinstance(gathered, dict) and _holds_tensor(gathered):
        sharded = checkpoint.state.get("best_state") if checkpoint.file and _parts(gathered) else None
        missing = [part for part in _parts(sharded) if part not in gathered]
        notes = [f"{listing(missing)} of best_state is left out of the release: fsdp_best_state does not hold it"]
        return Weights(gathered, "fsdp_best_state", "best state, gathered from all FSDP ranks",
                       tuple(notes if missing else ()))
    if _is_sharded(checkpoint):
        raise CheckpointError(f"{checkpoint.where} was trained with FSDP and its fsdp_best_state is empty: best_state "
                              "holds only the shard of one rank and cannot be released; export the checkpoint of "
                              "rank zero after a validation.")
    stored = checkpoint.state.get("best_state")
    if isinstance(stored, dict) and stored:
        return Weights(stored, "best_state", "best state, as the solver kept it")
    kept = f"no best_state (it has {checkpoint.sections})"
    if "best_state" in checkpoint.state:
        kept = "an empty best_state"
    if isinstance(stored, UnknownGlobal):
        kept = f"{describe_type(stored)} as its best_state"
    raise _MissingWeights(f"{checkpoint.where} has {kept}")


def _take_model(weights: Weights, of_audiocraft: bool) -> Weights:
    """Take the `model` of several parts if there is nothing else, or for a model of AudioCraft."""
    state = weights.state
    if not isinstance(state.get("model"), dict) or len(state) > 1 and not of_audiocraft:
        return weights
    left_out = [str(name)[:MAX_SHOWN_NAME] for name in state if name != "model"]
    notes = [f"{listing(left_out)} of {weights.source} is left out of the release: weights of AudioCraft are `model` "
             "alone; family=general releases all"]
    return replace(weights, state=state["model"], notes=(*weights.notes, *(notes if left_out else ())))


def _parts(state: Any) -> list[str]:
    """The names of the parts with tensors of nested weights; none for a state dict."""
    return [str(name)[:MAX_SHOWN_NAME] for name, part in state.items() if isinstance(part, (dict, list, tuple))
            and not str(name).endswith("_extra_state") and _holds_tensor(part)] if isinstance(state, dict) else []


def _select_last(checkpoint: Checkpoint) -> Weights:
    model = checkpoint.state.get("model")
    if not isinstance(model, dict) or not model:
        raise _MissingWeights(f"{checkpoint.where} has no weights under the name model (it has {checkpoint.sections})")
    return Weights(model, "model", "latest weights, as asked for")


def _select_ema(checkpoint: Checkpoint) -> Weights:
    averages: Any = checkpoint.state.get("ema")
    for key in ("state", "model"):
        averages = averages.get(key) if isinstance(averages, dict) else None
    if not isinstance(averages, dict) or not averages:
        section = checkpoint.state.get("ema")
        if isinstance(section, dict) and any(isinstance(value, LazyTensor) for value in section.values()):
            return _select_section(checkpoint, "ema")
        raise _MissingWeights(f"{checkpoint.where} has no moving average (ema) of the model")
    model = _select_last(checkpoint).state
    bare, by_bare = bare_names(model), {bare: averages[name] for name, bare in bare_names(averages).items()}
    found = {name: averages.get(name, by_bare.get(bare.get(name))) for name in model}
    # Tied tensors stand in the average under one of their names only (named_parameters skips the others).
    by_view = {_view(model[name]): average for name, average in found.items() if average is not None}
    by_view.pop(None, None)
    state = {name: by_view.get(_view(tensor), tensor) if found[name] is None else found[name]
             for name, tensor in model.items()}
    for name, tensor in state.items():
        if tensor is model[name] and isinstance(tensor, LazyTensor) and tensor.is_floating_point:
            raise _MissingWeights(f"The moving average (ema) of {checkpoint.where} lacks {name!r} of the model")
    return Weights(state, "ema", "latest moving average, as asked for")


def _select_section(checkpoint: Checkpoint, which: str) -> Weights:
    state = _find_section(checkpoint.state, which)
    if not isinstance(state, dict) or not state:
        raise _MissingWeights(f"{checkpoint.where} has no section {which} with tensors")
    return Weights(state, which, "a section, as asked for")


_SECTIONS = {"best": ("best_state", "fsdp_best_state"), "last": ("model",), "ema": ("ema",)}
_SELECTORS = {"best": _select_best, "ema": _select_ema, "last": _select_last}


def _is_only_a_name(checkpoint: Checkpoint, which: str) -> bool:
    """Whether `best` or `last` is a section, and the checkpoint has none of those that it otherwise stands for."""
    others = _SECTIONS.get(which, ())
    return which in checkpoint.state and bool(others) and not any(name in checkpoint.state for name in others)


def _is_bare(checkpoint: Checkpoint) -> bool:
    """Whether the file holds a bare state dict: tensors by name, and no sections with others."""
    state = checkpoint.state
    return checkpoint.file is not None and not _parts(state) and any(
        isinstance(value, LazyTensor) for value in state.values())


def _find_section(state: Mapping[Any, Any], path: str) -> Any:
    """What is at a dotted path; names may have dots in them."""
    if path in state:
        return state[path]
    for name in state:
        inner = state[name] if isinstance(name, str) and path.startswith(f"{name}.") else None
        found = _find_section(inner, path[len(name) + 1:]) if isinstance(inner, dict) else None
        if found is not None:
            return found
    return None


def _offer(checkpoint: Checkpoint, of_audiocraft: bool) -> Optional[str]:
    """The weights that a checkpoint has, as a remedy where those that were asked for are missing; None without any."""
    if checkpoint.file is None:  # asking a section of a living solver may involve all ranks
        if _is_sharded(checkpoint):
            return "use weights=best"
        return "use weights=last for the latest weights" if "model" in checkpoint.state else "name another section"
    found = [*islice(_selectable(checkpoint, of_audiocraft, checkpoint.state), MAX_OFFERS)]
    if not found and _can_be_selected(checkpoint, "best", of_audiocraft):  # a bare state dict
        found = ["best"]
    return "use " + " or ".join(f"weights={each}" for each in dict.fromkeys(found)) if found else None


def _selectable(checkpoint: Checkpoint, of_audiocraft: bool, state: Mapping[Any, Any], path: str = "") -> Iterator[str]:
    """The values of the option that select weights: for each section, or the parts of one that cannot be released."""
    known = {"model": "last", "best_state": "best", "fsdp_best_state": "best"}
    for name, section in state.items():
        if not isinstance(name, str) or len(path + name) > MAX_SHOWN_NAME or not isinstance(section, dict) \
                or "param_groups" in section or not _holds_tensor(section):  # the former is an optimizer's
            continue
        which = f"{path}{name}" if path else known.get(name, name)
        if _can_be_selected(checkpoint, which, of_audiocraft):
            yield which
        elif path.count(".") < MAX_OFFERED_DEPTH and not (which == "ema" and checkpoint.state.get("model")):
            # an average that does not fit the model is no model by itself
            yield from _selectable(checkpoint, of_audiocraft, section, f"{path}{name}.")


def _can_be_selected(checkpoint: Checkpoint, which: str, of_audiocraft: bool) -> bool:
    try:
        return bool(_select(checkpoint, which, of_audiocraft))
    except CheckpointError:
        return False


def _holds_tensor(state: Any) -> bool:
    """Whether there is a tensor in nested data, which may contain itself."""
    rest, seen = [state], set()
    while rest:
        value = rest.pop()
        if isinstance(value, LazyTensor):
            return True
        if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            rest.extend(value.values() if isinstance(value, dict) else value)
    return False


def _is_sharded(checkpoint: Checkpoint) -> bool:
    """Whether FSDP was in use: the truth value of `fsdp.use`, as in AudioCraft, where the text `no` means no.

    To AudioCraft such a text is true; then it has gathered an `fsdp_best_state`.
    """
    use = _fsdp_option(checkpoint.config)
    if isinstance(use, str) and _is_off(use):
        return _holds_tensor(checkpoint.state.get("fsdp_best_state"))
    return bool(use)


def _fsdp_option(config: Config) -> Any:
    fsdp = config.get("fsdp")
    return config.get("fsdp.use") if hasattr(fsdp, "keys") else fsdp


def _is_off(use: Any) -> bool:
    return use.strip().lower() in OFF if isinstance(use, str) else not use


def _view(tensor: Any) -> Any:
    """A key that two tensors share if they are the same view of the same bytes; None for anything else."""
    if not isinstance(tensor, LazyTensor):
        return None
    return id(tensor.blob), tensor.dtype, tensor.offset, tensor.shape, tensor.stride


class _TensorMapper:
    """Copies nested weights with a function applied to every tensor; plain data stays, anything else is an error."""

    def __init__(self, function: Callable[[str, LazyTensor], Any]) -> None:
        self._function = function
        self._values, self._text = 0, 0
        self._around: set[int] = set()  # the containers around the present value

    def __call__(self, state: Any, name: str = "") -> Any:
        self._count(state, name)
        if isinstance(state, LazyTensor):
            return self._function(name, state)
        if isinstance(state, (dict, list, tuple)):
            if id(state) in self._around:
                raise RecursionError
            self._around.add(id(state))
            copied = self._copy(state, name)
            self._around.remove(id(state))
            return copied
        if state is None or isinstance(state, (bool, int, float, str, bytes)):
            return state
        raise CheckpointError(f"The weights hold {describe_type(state)} at {name!r}, which is neither a tensor nor "
                              f"plain data: {remedy(state)}.")

    def _copy(self, state: Any, name: str) -> Any:
        if isinstance(state, dict):
            for key in state:
                if not isinstance(key, int) and not (isinstance(key, str) and len(key) <= MAX_TENSOR_NAME):
                    raise CheckpointError(f"The weights hold {describe_type(key)} as a name at {name!r}: keep it out "
                                          "of the model's state.")
            return {key: self(value, f"{name}.{key}" if name else str(key)) for key, value in state.items()}
        items = [self(value, f"{name}.{index}") for index, value in enumerate(state)]
        return tuple(items) if isinstance(state, tuple) else items

    def _count(self, state: Any, name: str) -> None:
        self._values += 1
        self._text += len(name) + (len(state) if isinstance(state, (str, bytes)) else 0)
        if self._values > MAX_VALUES or self._text > MAX_TEXT or len(name) > MAX_TENSOR_NAME:
            raise CheckpointError(f"The weights hold more than {MAX_VALUES} values, {MAX_TEXT} characters of names "
                                  f"and texts, or a name of more than {MAX_TENSOR_NAME}, as no model does: keep them "
                                  "out of its state.")


def _compact_bytes(tensor: LazyTensor, dtype: str) -> LazyBytes:
    if tensor.is_contiguous and dtype == tensor.dtype and not (tensor.conj or tensor.neg):
        return tensor.own_bytes
    from ..checkpoint.torch_tensors import cast_chunks
    return LazyBytes(tensor.numel * ITEMSIZE[dtype],
                     lambda begin, end: slice_stream(cast_chunks(tensor, dtype), begin, end), name=tensor.blob.name)
