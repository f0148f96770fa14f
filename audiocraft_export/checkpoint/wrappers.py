"""Remove the prefixes that torch.compile, DDP and FSDP add to the names of parameters."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import CheckpointError, coded_warning

_DDP = "module"  # Models may use this name as well, but the module of DDP has no siblings.
_WRAPPERS = {  # wrapper by part of a name
    "_orig_mod": "torch.compile", _DDP: "DistributedDataParallel or DataParallel", "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
_COUNTER = "n_averaged"  # the sibling of `module` in torch.optim.swa_utils.AveragedModel
_MAX_DEPTH = 64  # parts of a name, and levels of a nested state, that are examined


def bare_names(names: Iterable[Any]) -> dict[Any, Any]:
    """Map each name to its name in the unwrapped model."""
    return {name: bare for name, (bare, _) in _find_wrappers(names).items()}


def strip_wrappers(state: Mapping[Any, Any], source: str) -> tuple[dict[Any, Any], tuple[str, ...]]:
    """Remove the prefixes of wrappers from the names of a state dict.

    Args:
        state: tensors by name.
        source: the section of the checkpoint, for messages.

    Returns:
        The renamed state dict, and coded warnings about the removed prefixes.

    Raises:
        CheckpointError: if two tensors would have the same name.
    """
    stripped: dict[Any, Any] = {}
    found = _find_wrappers(state)
    for name, value in state.items():
        bare, _ = found[name]
        if bare in stripped:
            raise CheckpointError("prefix-conflict", f"{source} has {bare!r} with and without the prefixes of "
                                  "torch.compile and DDP", "save the state of the unwrapped model, or use "
                                  "family=general to keep the names")
        stripped[bare] = value
    notes = [coded_warning("prefix-removed", f"removed the prefix {part}. ({_WRAPPERS[part]}) from {count} names of "
                           f"{source}")
             for part, count in Counter(part for _, parts in found.values() for part in parts).items()]
    kept = sum(_DDP in name.split(".")[:-1] for name in stripped if isinstance(name, str))
    if kept:
        notes.append(coded_warning("prefix-kept", f"kept {_DDP}. in {kept} names of {source}: other names lack this "
                                   "prefix, so DDP did not add it"))
    return stripped, tuple(notes)


def wrapper_warnings(state: Mapping[Any, Any], source: str) -> Iterator[str]:
    """Yield coded warnings about prefixes in weights that are released with their names unchanged."""
    counts = Counter(part for level in _levels(state, 0)
                     for _, parts in _find_wrappers(level).values() for part in parts)
    for part, count in counts.items():
        yield coded_warning("prefix-kept", f"{count} names of {source} have the prefix {part}. ({_WRAPPERS[part]}); "
                            "remove it to load them into the unwrapped model")


def _find_wrappers(names: Iterable[Any]) -> dict[Any, tuple[Any, set[str]]]:
    """Map each name to the name without prefixes, and the removed prefixes."""
    paths = {name: [*_steps(name)] for name in names}
    parents = {parent for path in paths.values() for parent, part in path if part == _DDP}
    mixed = {parent for path in paths.values() for parent, part in path
             if parent in parents and part not in (_DDP, _COUNTER)}
    found: dict[Any, tuple[Any, set[str]]] = {}
    for name, path in paths.items():
        removed = {index: part for index, (parent, part) in enumerate(path[:-1])
                   if part in _WRAPPERS and not (part == _DDP and parent in mixed)}
        bare = ".".join(part for index, (_, part) in enumerate(path) if index not in removed) if removed else name
        found[name] = bare, {*removed.values()}
    return found


def _steps(name: Any) -> Iterator[tuple[str, str]]:
    """Yield the parts of the name of a tensor, each with the name of its parent."""
    parent = ""
    for part in name.split(".", _MAX_DEPTH) if isinstance(name, str) else ():
        yield parent, part
        parent = f"{parent}.{part}" if parent else part


def _levels(state: Any, depth: int) -> Iterator[Mapping[Any, Any]]:
    """Yield a state dict and all mappings nested in it."""
    if isinstance(state, dict) and depth < _MAX_DEPTH:
        yield state
        for value in state.values():
            yield from _levels(value, depth + 1)
