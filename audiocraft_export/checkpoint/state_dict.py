"""Walk state dicts, which may be nested: their tensors by name, their NaN and Inf, and copies with compact tensors."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, Optional, Union

from ..errors import CheckpointError, readable_size
from ..storage.lazy_bytes import Data, LazyBytes, slice_stream
from .allowlist import UnknownGlobal, describe_type
from .limits import MAX_INTEGER_BITS, MAX_REPEATED_BYTES, MAX_TENSOR_NAME, MAX_TEXT, MAX_VALUES
from .nonfinite import NonfiniteCounter
from .tensor import INITIALIZE_REMEDY, ITEMSIZE, SHARD_REMEDY, LazyTensor, contiguous

_REMEDIES = {  # hints, by the last part of the name of an unknown global
    "DTensor": SHARD_REMEDY, "ShardedTensor": SHARD_REMEDY,
    "UninitializedParameter": INITIALIZE_REMEDY, "UninitializedBuffer": INITIALIZE_REMEDY,
    "_rebuild_qtensor": "save it as a plain tensor, with dequantize()",
    "_rebuild_sparse_tensor": "save it as a plain tensor, with to_dense()",
}


def map_tensors(function: Callable[[str, LazyTensor], Any], state: Any) -> Any:
    """Copy a state dict, with the result of a function for the dotted name and the value of each tensor.

    Raises:
        CheckpointError: for values other than tensors and plain data, for a state dict that contains itself, and beyond
            the limits.
    """
    try:
        return _TensorMapper(function)(state)
    except RecursionError:
        raise CheckpointError("unsupported-weights", "The weights contain themselves, or are nested too deeply",
                              "keep only tensors and plain data in the model's state") from None


def named_tensors(state: Any) -> dict[str, LazyTensor]:
    """Return the tensors of a state dict by dotted name.

    Raises:
        CheckpointError: as `map_tensors`.
    """
    found: dict[str, LazyTensor] = {}
    map_tensors(found.setdefault, state)
    return found


def compact(state: Any, source: str, dtype: Optional[str] = None) -> Any:
    """Copy a state dict with contiguous tensors, each with exactly its own bytes; tied tensors stay tied.

    No tensor data is read: the bytes are converted when the release is written.

    Args:
        state: tensors of any layout.
        source: the name of the state dict, for messages.
        dtype: cast floating-point tensors to this dtype; None keeps the stored dtype.

    Raises:
        CheckpointError: as `map_tensors`, or if expanded views need far more bytes than are stored.
    """
    claimed, stored = _claimed_and_stored(named_tensors(state).values())
    if _are_expanded(claimed, stored):
        raise CheckpointError("expanded-tensors", f"Expanded views in {source}: the tensors need "
                              f"{readable_size(claimed)}, but only {readable_size(stored)} are stored",
                              "call .contiguous() on them before saving")
    compacted: dict[Any, LazyBytes] = {}

    def compact_once(name: str, tensor: LazyTensor) -> LazyTensor:
        target = dtype if dtype and tensor.is_floating_point else tensor.dtype
        layout = () if tensor.is_contiguous else (tensor.shape, tensor.stride)
        key = (id(tensor.blob), tensor.dtype, tensor.offset, tensor.numel, tensor.conj, tensor.neg, layout)
        if key not in compacted:
            compacted[key] = _compact_bytes(name, tensor, target)
        return LazyTensor(compacted[key], target, 0, tensor.shape, contiguous(tensor.shape))

    return map_tensors(compact_once, state)


def count_nonfinite(tensors: Mapping[str, LazyTensor]) -> Iterator[tuple[str, Union[int, CheckpointError]]]:
    """Read all bytes of tensors, and count their NaN and infinite values.

    The values are those of each tensor, or of its whole storage if the tensors together have far more bytes than are
    stored.

    Yields:
        The name of each tensor, with the count or the error if its bytes are corrupted; of tied tensors only the first.
    """
    counters: dict[Any, tuple[str, NonfiniteCounter]] = {}
    are_expanded = _are_expanded(*_claimed_and_stored(tensors.values()))
    for name, tensor in tensors.items():
        is_view = tensor.nbytes < tensor.blob.nbytes and not are_expanded
        key = view_of(tensor) if is_view else (id(tensor.blob), tensor.dtype)
        if key not in counters:
            blob = _compact_bytes(name, tensor, tensor.dtype) if is_view else tensor.blob
            counters[key] = name, NonfiniteCounter(blob, tensor.dtype)
    for name, counter in counters.values():
        try:
            for _ in counter.blob.iter_checked():
                pass
        except CheckpointError as exc:
            yield name, exc
        else:
            yield name, counter.count


def _claimed_and_stored(tensors: Iterable[LazyTensor]) -> tuple[int, int]:
    """Return the bytes of all tensors, each view once, and the bytes of their storages."""
    views = {view_of(tensor): tensor for tensor in tensors}.values()
    stored = {id(tensor.blob): tensor.blob.nbytes for tensor in views}
    return sum(tensor.nbytes for tensor in views), sum(stored.values())


def _are_expanded(claimed: int, stored: int) -> bool:
    return claimed > 2 * stored + MAX_REPEATED_BYTES


def view_of(tensor: Any) -> Any:
    """Return a key to compare tensors: equal keys mean the same view of the same bytes; None for other values."""
    if not isinstance(tensor, LazyTensor):
        return None
    return id(tensor.blob), tensor.dtype, tensor.offset, tensor.shape, tensor.stride


class _TensorMapper:
    """Copies a nested state dict, and applies a function to each tensor; plain data is copied unchanged.

    Calls count values and characters, because shared references in a small file can expand exponentially.

    Raises:
        CheckpointError: for other types, names that are neither strings nor integers, and beyond the limits.
        RecursionError: if the weights contain themselves.
    """

    def __init__(self, function: Callable[[str, LazyTensor], Any]) -> None:
        self._function = function
        self._values, self._text = 0, 0
        self._around: set[int] = set()  # ids of the containers around the current value

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
        if isinstance(state, int) and state.bit_length() > MAX_INTEGER_BITS:
            raise CheckpointError("unsupported-weights", f"Unsupported integer of {state.bit_length()} bits in the "
                                  "weights: torch.load rejects it", "keep it out of the state of the model")
        if state is None or isinstance(state, (bool, int, float, str, bytes)):
            return state
        hint = _remedy(state)
        raise CheckpointError("sharded-weights" if hint == SHARD_REMEDY else "unsupported-weights",
                              f"Unsupported value in the weights: {describe_type(state)} at {name!r}; only tensors and "
                              "plain data can be exported", hint)

    def _copy(self, state: Any, name: str) -> Any:
        if isinstance(state, dict):
            for key in state:
                if not isinstance(key, int) and not (isinstance(key, str) and len(key) <= MAX_TENSOR_NAME):
                    what = f"a string of {len(key)} characters" if isinstance(key, str) else describe_type(key)
                    raise CheckpointError("unsupported-weights", f"Unsupported key in the weights: {what} in {name!r}",
                                          "keep it out of the model's state")
            return {key: self(value, f"{name}.{key}" if name else str(key)) for key, value in state.items()}
        items = [self(value, f"{name}.{index}") for index, value in enumerate(state)]
        return tuple(items) if isinstance(state, tuple) else items

    def _count(self, state: Any, name: str) -> None:
        """Count a value and its characters; raise an error beyond the limits."""
        self._values += 1
        self._text += len(name) + (len(state) if isinstance(state, (str, bytes)) else 0)
        if self._values > MAX_VALUES or self._text > MAX_TEXT or len(name) > MAX_TENSOR_NAME:
            raise CheckpointError("limit-exceeded", f"The weights exceed the limits of {MAX_VALUES} values, {MAX_TEXT} "
                                  f"characters of names and strings, or {MAX_TENSOR_NAME} characters of a name",
                                  "keep only tensors and a little plain data in the model's state")


def _compact_bytes(name: str, tensor: LazyTensor, dtype: str) -> LazyBytes:
    """Return the bytes of a tensor in row-major order, cast to a dtype while they are read."""
    if tensor.is_contiguous and dtype == tensor.dtype and not (tensor.conj or tensor.neg):
        return tensor.own_bytes
    from .torch_tensors import cast_chunks

    def read(begin: int, end: int) -> Iterator[Data]:
        return slice_stream(cast_chunks(name, tensor, dtype), begin, end)
    return LazyBytes(tensor.numel * ITEMSIZE[dtype], read, name=tensor.blob.name)


def _remedy(value: Any) -> str:
    """Return a hint for an unexpected value in the weights."""
    name = value.name.rpartition(".")[2] if isinstance(value, UnknownGlobal) else ""
    return _REMEDIES.get(name, "store the state_dict() of a module, and keep other objects out of the model's state")
