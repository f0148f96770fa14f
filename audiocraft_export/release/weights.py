"""Which weights a release gets, and in what form.

The rules are those of AudioCraft: `fsdp_best_state` is the whole model where `best_state` holds only
the shard of rank zero (`audiocraft.solvers.base.StandardSolver`, `audiocraft.utils.export.export_lm`).
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

from ..checkpoint.allowlist import UnknownGlobal
from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.plain_config import describe_type, remedy
from ..checkpoint.tensor import ITEMSIZE, LazyTensor, contiguous
from ..errors import CheckpointError, OptionError, listing
from ..experiment.config import Config
from ..storage.lazy_bytes import LazyBytes, slice_stream
from .limits import MAX_REPEATED_BYTES, MAX_SHOWN_NAME, MAX_TENSOR_NAME, MAX_TEXT, MAX_VALUES
from .wrappers import strip_wrappers, wrapper_warnings

OFF = ("", "0", "f", "false", "n", "no", "none", "null", "off")


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
        CheckpointError: if the checkpoint does not have them, or only a shard of them.
    """
    if which != "best" and not which.startswith("fsdp_best_state") and _is_sharded(checkpoint):
        raise CheckpointError(f"{checkpoint.where} was trained with FSDP, where every rank stores its own shard: "
                              f"weights={which} cannot be released; use weights=best.")
    if checkpoint.is_bare and which in ("best", "last"):
        weights = _finish(Weights(checkpoint.state, "state dict", "the only weights in the file"), [], of_audiocraft)
    elif which in _SELECTORS and not _is_only_a_name(checkpoint, which):
        weights = _SELECTORS[which](checkpoint, of_audiocraft)
    else:
        weights = _select_section(checkpoint, which, of_audiocraft)
    try:
        tensors = weights.tensors
    except RecursionError:
        raise CheckpointError(f"{weights.source} of {checkpoint.where} contains itself or is nested too deeply: "
                              "keep only tensors and plain data in the model's state.") from None
    if not tensors:
        raise CheckpointError(f"{weights.source} of {checkpoint.where} holds no tensor, as "
                              f"before the first validation: {_offer(checkpoint)}.")
    return weights if of_audiocraft else replace(
        weights, notes=(*weights.notes, *wrapper_warnings(weights.state, weights.source)))


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


def _select_best(checkpoint: Checkpoint, of_audiocraft: bool) -> Weights:
    gathered = checkpoint.state.get("fsdp_best_state")
    if isinstance(gathered, dict) and (best := _best_parts(gathered, of_audiocraft)):
        left_out = _left_out(gathered, best)
        sharded = checkpoint.state.get("best_state") if checkpoint.file and "model" in gathered else None
        if isinstance(sharded, dict):
            left_out += [name for name, part in sharded.items() if isinstance(part, dict) and name not in gathered]
        return _finish(Weights(best, "fsdp_best_state", "best state, gathered from all FSDP ranks"), left_out,
                       of_audiocraft)
    if _is_sharded(checkpoint):
        raise CheckpointError(f"{checkpoint.where} was trained with FSDP and its fsdp_best_state is empty: best_state "
                              "holds only the shard of one rank and cannot be released; export the checkpoint of "
                              "rank zero after a validation.")
    stored = checkpoint.state.get("best_state")
    if best := _best_parts(stored, of_audiocraft):
        return _finish(Weights(best, "best_state", "best state, as the solver kept it"), _left_out(stored, best),
                       of_audiocraft)
    kept = f"no best_state (it has {checkpoint.sections})"
    if "best_state" in checkpoint.state:
        kept = "an empty best_state"
    if isinstance(stored, UnknownGlobal):
        kept = f"{describe_type(stored)} as its best_state"
    raise CheckpointError(f"{checkpoint.where} has {kept}: {_offer(checkpoint)}.")


def _left_out(stored: Any, best: Mapping[str, Any]) -> list[Any]:
    """The parts of a best state that are not released."""
    return [name for name in stored if name != "model"] if best is not stored else []


def _finish(weights: Weights, left_out: list[Any], of_audiocraft: bool) -> Weights:
    """Note the parts of the best state that are not released, and finish the names."""
    if left_out:
        names = listing([str(name)[:MAX_SHOWN_NAME] for name in left_out])
        remedy = ": weights of AudioCraft are `model` alone; family=general releases all" if of_audiocraft else ""
        weights = replace(weights, notes=(f"{names} of the best state is left out of the release{remedy}",))
    return _strip(weights) if of_audiocraft else weights


def _strip(weights: Weights) -> Weights:
    """Take the prefixes of wrappers off the names."""
    state, notes = strip_wrappers(weights.state, weights.source)
    return replace(weights, state=state, notes=(*weights.notes, *notes))


def _select_last(checkpoint: Checkpoint, of_audiocraft: bool) -> Weights:
    model = checkpoint.state.get("model")
    if not isinstance(model, dict) or not model:
        raise CheckpointError(f"{checkpoint.where} has no weights under the name model (it has {checkpoint.sections}): "
                              f"{_offer(checkpoint)}, or register the model as `model` in the solver.")
    weights = Weights(model, "model", "latest weights, as asked for")
    return _strip(weights) if of_audiocraft else weights


def _select_ema(checkpoint: Checkpoint, of_audiocraft: bool) -> Weights:
    averages: Any = checkpoint.state.get("ema")
    for key in ("state", "model"):
        averages = averages.get(key) if isinstance(averages, dict) else None
    if not isinstance(averages, dict) or not averages:
        section = checkpoint.state.get("ema")
        if isinstance(section, dict) and any(isinstance(value, LazyTensor) for value in section.values()):
            return _select_section(checkpoint, "ema", of_audiocraft)
        raise CheckpointError(f"{checkpoint.where} has no moving average (ema) of the model: {_offer(checkpoint)}.")
    last = _select_last(checkpoint, of_audiocraft)
    model = last.state
    averages = strip_wrappers(averages, "ema")[0] if of_audiocraft else averages
    # Tied tensors stand in the average under one of their names only (named_parameters skips the others).
    by_view = {_view(model.get(name)): average for name, average in averages.items()}
    by_view.pop(None, None)
    state = {name: averages.get(name, by_view.get(_view(tensor), tensor)) for name, tensor in model.items()}
    for name, tensor in state.items():
        if tensor is model[name] and isinstance(tensor, LazyTensor) and tensor.is_floating_point:
            raise CheckpointError(f"The moving average (ema) of {checkpoint.where} lacks {name!r} of the model: use "
                                  "weights=best or weights=last.")
    return Weights(state, "ema", "latest moving average, as asked for", last.notes)


def _select_section(checkpoint: Checkpoint, which: str, of_audiocraft: bool) -> Weights:
    state = _find_section(checkpoint.state, which)
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{checkpoint.where} has no section {which} with tensors: {_offer(checkpoint)}.")
    return _finish(Weights(state, which, "a section, as asked for"), [], of_audiocraft)


_SELECTORS = {"best": _select_best, "ema": _select_ema, "last": _select_last}


def _is_only_a_name(checkpoint: Checkpoint, which: str) -> bool:
    """Whether `best` or `last` is a section, and the checkpoint has none of those that it otherwise stands for."""
    others = {"best": ("best_state", "fsdp_best_state"), "last": ("model",)}.get(which, ())
    return which in checkpoint.state and bool(others) and not any(name in checkpoint.state for name in others)


def _find_section(state: Mapping[Any, Any], path: str) -> Any:
    """What is at a dotted path; names may have dots in them."""
    for name in state:
        if path == name:
            return state[name]
        inner = state[name] if path.startswith(f"{name}.") else None
        found = _find_section(inner, path[len(str(name)) + 1:]) if isinstance(inner, dict) else None
        if found is not None:
            return found
    return None


def _offer(checkpoint: Checkpoint) -> str:
    """The remedy where the weights that were asked for are missing: all that a checkpoint has, as options that work."""
    if checkpoint.file is None:  # asking a section of a living solver may involve all ranks
        return "use weights=last for the latest weights" if "model" in checkpoint.state else "name another section"
    state, known = checkpoint.state, {"model": "last", "best_state": "best", "fsdp_best_state": "best"}
    offers = []
    for name, section in state.items():
        if not isinstance(name, str) or not isinstance(section, dict) or len(name) > MAX_SHOWN_NAME:
            continue
        if name == "ema" and not any(isinstance(value, LazyTensor) for value in section.values()):
            parts = _find_section(section, "state.model")
            offers += ["ema"] if _can_be_released(parts) and _can_be_released(state.get("model")) else []
        elif _can_be_released(section):
            offers.append(known.get(name, name))
    if not offers:
        return "none of its sections holds tensors that can be released; export another checkpoint"
    return "use " + " or ".join(f"weights={name}" for name in dict.fromkeys(offers))


def _can_be_released(state: Any) -> bool:
    try:
        return isinstance(state, dict) and bool(Weights(state, "", "").tensors)
    except (CheckpointError, RecursionError):
        return False


def _is_sharded(checkpoint: Checkpoint) -> bool:
    """Whether FSDP was in use: the truth value of `fsdp.use`, as in AudioCraft, where the text `no` means no.

    To AudioCraft such a text is true; then it has gathered an `fsdp_best_state`.
    """
    use = _fsdp_option(checkpoint.config)
    if isinstance(use, str) and _is_off(use):
        return bool(_best_parts(checkpoint.state.get("fsdp_best_state"), of_audiocraft=True))
    return bool(use)


def _fsdp_option(config: Config) -> Any:
    fsdp = config.get("fsdp")
    return config.get("fsdp.use") if hasattr(fsdp, "keys") else fsdp


def _is_off(use: Any) -> bool:
    return use.strip().lower() in OFF if isinstance(use, str) else not use


def _best_parts(state: Any, of_audiocraft: bool) -> Optional[Mapping[str, Any]]:
    """What is released of a best state: its `model` if there is nothing else or a model of AudioCraft, or all of it."""
    if not isinstance(state, dict):
        return None
    return state["model"] if isinstance(state.get("model"), dict) and (of_audiocraft or len(state) == 1) else state


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

    def __call__(self, state: Any, name: str = "") -> Any:
        self._count(state, name)
        if isinstance(state, LazyTensor):
            return self._function(name, state)
        if isinstance(state, dict):
            for key in state:
                if not isinstance(key, int) and not (isinstance(key, str) and len(key) <= MAX_TENSOR_NAME):
                    raise CheckpointError(f"The weights hold {describe_type(key)} as a name at {name!r}: keep it out "
                                          "of the model's state.")
            return {key: self(value, f"{name}.{key}" if name else str(key)) for key, value in state.items()}
        if isinstance(state, (list, tuple)):
            items = [self(value, f"{name}.{index}") for index, value in enumerate(state)]
            return tuple(items) if isinstance(state, tuple) else items
        if state is None or isinstance(state, (bool, int, float, str, bytes)):
            return state
        raise CheckpointError(f"The weights hold {describe_type(state)} at {name!r}, which is neither a tensor nor "
                              f"plain data: {remedy(state)}.")

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
