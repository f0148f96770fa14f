"""Which weights a release gets, and in what form.

The rules are those of AudioCraft: `fsdp_best_state` is the whole model where `best_state` holds only
the shard of rank zero (`audiocraft.solvers.base.StandardSolver`, `audiocraft.utils.export.export_lm`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..checkpoint.allowlist import UnknownGlobal
from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.plain_config import describe_type
from ..checkpoint.tensor import ITEMSIZE, LazyTensor, contiguous
from ..errors import CheckpointError
from ..storage.lazy_bytes import LazyBytes, slice_stream

MOST_VALUES = 1 << 19  # in the weights of a release
MOST_TEXT = 1 << 25  # characters of names and texts
MOST_NAME = 1 << 12  # characters of a dotted name
MOST_REPEATED = 1 << 26  # bytes more than twice what is stored


@dataclass(frozen=True)
class Weights:
    """The weights of a release.

    Args:
        state: tensors by name; nested where the solver's best state is.
        source: the section of the checkpoint they come from.
        reason: why from there, for the manifest.
    """

    state: Mapping[str, Any]
    source: str
    reason: str

    @property
    def tensors(self) -> dict[str, LazyTensor]:
        """All tensors by their dotted name."""
        found: dict[str, LazyTensor] = {}
        _TensorMapper(lambda name, tensor: found.setdefault(name, tensor))(self.state)
        return found

    @property
    def parameters(self) -> int:
        """Number of elements in the tensors; tied ones count once."""
        return sum({id(tensor.blob): tensor.numel for tensor in self.tensors.values()}.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """Number of tensors by element type."""
        return dict(sorted(Counter(tensor.dtype for tensor in self.tensors.values()).items()))


def select_weights(checkpoint: Checkpoint, which: str) -> Weights:
    """Choose the weights of a release.

    Args:
        checkpoint: the training checkpoint.
        which: `best`, `ema` or `last`.

    Raises:
        CheckpointError: if the checkpoint does not have them, or only a shard of them.
    """
    weights = {"best": _best, "ema": _ema, "last": _last}[which](checkpoint)
    try:
        tensors = weights.tensors
    except RecursionError:
        raise CheckpointError(f"{weights.source} of {checkpoint.where} contains itself or is nested too deeply: "
                              "keep only tensors and plain data in the model's state.") from None
    if not tensors:
        raise CheckpointError(f"{weights.source} of {checkpoint.where} holds no tensor, as "
                              "before the first validation: use weights=last.")
    return weights


def compact(weights: Weights, dtype: Optional[str]) -> Weights:
    """The same weights, contiguous, each over exactly its own bytes; tied tensors stay tied.

    Tensors that already are so keep their bytes where they are: nothing is read here.

    Args:
        weights: as chosen.
        dtype: to cast floating point tensors to, or None.

    Raises:
        CheckpointError: if they would be far larger than what is stored, as tensors that repeat an element are.
    """
    packed: dict[Any, LazyTensor] = {}

    def pack_one(name: str, tensor: LazyTensor) -> LazyTensor:
        target = dtype if dtype and tensor.is_floating_point else tensor.dtype
        stride = () if tensor.is_contiguous else tensor.stride
        key = (id(tensor.blob), tensor.dtype, tensor.offset, tensor.numel, tensor.conj, tensor.neg,
               stride and (tensor.shape, stride))
        if key not in packed:
            packed[key] = _compact_tensor(tensor, target)
        return LazyTensor(packed[key].blob, target, 0, tensor.shape, contiguous(tensor.shape))

    _check_expansion(weights)
    return Weights(_TensorMapper(pack_one)(weights.state), weights.source, weights.reason)


def _best(checkpoint: Checkpoint) -> Weights:
    state = checkpoint.state
    whole = _model(state.get("fsdp_best_state"))
    if whole:
        return Weights(whole, "fsdp_best_state", "best state, gathered from all FSDP ranks")
    if _is_sharded(checkpoint):
        raise CheckpointError(f"{checkpoint.where} was trained with FSDP and its fsdp_best_state is empty: best_state "
                              "holds only the shard of one rank and cannot be released; export the checkpoint of "
                              "rank zero after a validation.")
    best = _model(state.get("best_state"))
    if best:
        return Weights(best, "best_state", "best state, as the solver kept it")
    kept = state.get("best_state")
    problem = f"{describe_type(kept)} as its best_state" if isinstance(kept, UnknownGlobal) else \
        "an empty best_state" if "best_state" in state else f"no best_state (it has {checkpoint.sections})"
    raise CheckpointError(f"{checkpoint.where} has {problem}: use weights=last for the latest weights.")


def _last(checkpoint: Checkpoint) -> Weights:
    _refuse_shards(checkpoint, "last")
    model = checkpoint.state.get("model")
    if not isinstance(model, dict) or not model:
        raise CheckpointError(f"{checkpoint.where} has no weights under the name model (it has {checkpoint.sections}): "
                              "use weights=best, or register the model as `model` in the solver.")
    return Weights(model, "model", "latest weights, as asked for")


def _ema(checkpoint: Checkpoint) -> Weights:
    _refuse_shards(checkpoint, "ema")
    averages: Any = checkpoint.state.get("ema")
    for key in ("state", "model"):
        averages = averages.get(key) if isinstance(averages, dict) else None
    if not isinstance(averages, dict) or not averages:
        raise CheckpointError(f"{checkpoint.where} has no moving average (ema) of the model: "
                              "use weights=best or weights=last.")
    model = _last(checkpoint).state
    # Tied tensors stand in the average under one of their names only (named_parameters skips the others).
    by_view = {_view(model.get(name)): average for name, average in averages.items()}
    by_view.pop(None, None)
    state = {name: averages.get(name, by_view.get(_view(tensor), tensor)) for name, tensor in model.items()}
    for name, tensor in state.items():
        if tensor is model[name] and isinstance(tensor, LazyTensor) and tensor.is_floating_point:
            raise CheckpointError(f"The moving average (ema) of {checkpoint.where} lacks {name!r} of the model: use "
                                  "weights=best or weights=last.")
    return Weights(state, "ema", "latest moving average, as asked for")


def _is_sharded(checkpoint: Checkpoint) -> bool:
    """Whether FSDP was in use, by the truth of `fsdp.use` as AudioCraft asks for it."""
    fsdp = checkpoint.config.get("fsdp")
    return bool(checkpoint.config.get("fsdp.use") if hasattr(fsdp, "keys") else fsdp)


def _refuse_shards(checkpoint: Checkpoint, which: str) -> None:
    if _is_sharded(checkpoint):
        raise CheckpointError(f"{checkpoint.where} was trained with FSDP, where every rank stores its own shard: "
                              f"weights={which} cannot be released; use weights=best.")


def _model(state: Any) -> Optional[Mapping[str, Any]]:
    """The model's part of a best state; a solver of one's own may keep it without a `model` inside."""
    if not isinstance(state, dict):
        return None
    model = state.get("model")
    return model if isinstance(model, dict) else state


def _check_expansion(weights: Weights) -> None:
    tensors = weights.tensors.values()
    claimed = sum({_view(tensor): tensor.nbytes for tensor in tensors}.values())
    stored = sum({id(tensor.blob): tensor.blob.nbytes for tensor in tensors}.values())
    if claimed > 2 * stored + MOST_REPEATED:
        raise CheckpointError(f"The tensors of {weights.source} claim {claimed} bytes, where {stored} are stored, as "
                              "those of no model do: store them with .contiguous().")


def _view(tensor: Any) -> Any:
    if not isinstance(tensor, LazyTensor):
        return None
    return id(tensor.blob), tensor.dtype, tensor.offset, tensor.shape, tensor.stride


class _TensorMapper:
    """Makes copies of nested weights with every tensor changed; plain data stays, anything else is an error.

    It counts what it copies: a few references may stand for more than any machine holds.
    """

    def __init__(self, change: Callable[[str, LazyTensor], Any]) -> None:
        self._change = change
        self._values, self._text = 0, 0

    def __call__(self, state: Any, name: str = "") -> Any:
        self._count(state, name)
        if isinstance(state, LazyTensor):
            return self._change(name, state)
        if isinstance(state, dict):
            _refuse_odd_names(state, name)
            return {key: self(value, f"{name}.{key}" if name else str(key)) for key, value in state.items()}
        if isinstance(state, (list, tuple)):
            items = [self(value, f"{name}.{index}") for index, value in enumerate(state)]
            return tuple(items) if isinstance(state, tuple) else items
        if state is None or isinstance(state, (bool, int, float, str, bytes)):
            return state
        raise CheckpointError(f"The weights hold {describe_type(state)} at {name!r}, which is neither a tensor nor "
                              "plain data: keep it out of the model's state.")

    def _count(self, state: Any, name: str) -> None:
        self._values += 1
        self._text += len(name) + (len(state) if isinstance(state, (str, bytes)) else 0)
        if self._values > MOST_VALUES or self._text > MOST_TEXT or len(name) > MOST_NAME:
            raise CheckpointError(f"The weights hold more than {MOST_VALUES} values, {MOST_TEXT} characters of names "
                                  f"and texts, or a name of more than {MOST_NAME}, as no model does: keep them out of "
                                  "its state.")


def _refuse_odd_names(state: Mapping[Any, Any], where: str) -> None:
    for key in state:
        if not isinstance(key, int) and not (isinstance(key, str) and len(key) <= MOST_NAME):
            raise CheckpointError(f"The weights hold {describe_type(key)} as a name at {where!r}: keep it out of the "
                                  "model's state.")


def _compact_tensor(tensor: LazyTensor, dtype: str) -> LazyTensor:
    if tensor.is_contiguous and dtype == tensor.dtype and not (tensor.conj or tensor.neg):
        packed = tensor.own_bytes
    else:
        from ..checkpoint.torch_tensors import cast_chunks
        packed = LazyBytes(tensor.numel * ITEMSIZE[dtype],
                      lambda begin, end: slice_stream(cast_chunks(tensor, dtype), begin, end), name=tensor.blob.name)
    return LazyTensor(packed, dtype, 0, tensor.shape, contiguous(tensor.shape))
