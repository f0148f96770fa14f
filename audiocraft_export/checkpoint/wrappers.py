"""Prefixes that wrappers of a training put into the names of a model's tensors: torch.compile, DDP, FSDP."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import CheckpointError

_DDP = "module"  # a module may well be called so: that of DDP is the only child of its parent
_WRAPPERS = {  # part of a name, and what puts it there
    "_orig_mod": "torch.compile", _DDP: "DistributedDataParallel or DataParallel", "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
_COUNTER = "n_averaged"  # beside the `module` of torch.optim.swa_utils.AveragedModel
_MAX_DEPTH = 64  # parts of a name that are looked at, and levels of nested states


def bare_names(names: Iterable[Any]) -> dict[Any, Any]:
    """The names as the bare model has them, by name."""
    return {name: bare for name, (bare, _) in _find_wrappers(names).items()}


def strip_wrappers(state: Mapping[Any, Any], source: str) -> tuple[dict[Any, Any], tuple[str, ...]]:
    """Take the prefixes of wrappers off the names of a state dict; also gives a note for each, for the manifest.

    Raises:
        CheckpointError: if two tensors would get the same name.
    """
    stripped: dict[Any, Any] = {}
    found = _find_wrappers(state)
    for name, value in state.items():
        bare, _ = found[name]
        if bare in stripped:
            raise CheckpointError(f"{source} has {bare!r} with and without the prefixes of torch.compile and DDP: "
                                  "store the state of the bare model, or use family=general to keep the names.")
        stripped[bare] = value
    notes = [f"took the prefix {part}. ({_WRAPPERS[part]}) off {count} names of {source}"
             for part, count in Counter(part for _, parts in found.values() for part in parts).items()]
    kept = sum(_DDP in name.split(".")[:-1] for name in stripped if isinstance(name, str))
    if kept:
        notes.append(f"{kept} names of {source} keep the part {_DDP}.: other names stand beside it, so that it is not "
                     "that of DDP")
    return stripped, tuple(notes)


def wrapper_warnings(state: Mapping[Any, Any], source: str) -> Iterator[str]:
    """Warnings about such prefixes in the weights of a project of one's own, which keep their names."""
    counts = Counter(part for level in _levels(state, 0)
                     for _, parts in _find_wrappers(level).values() for part in parts)
    for part, count in counts.items():
        yield (f"{count} names of {source} have the prefix {part}. of {_WRAPPERS[part]}, which the bare model does not "
               "have: remove it to load them there")


def _find_wrappers(names: Iterable[Any]) -> dict[Any, tuple[Any, set[str]]]:
    """Each name without the prefixes of wrappers, and which these are."""
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
    """Each part of the name of a tensor, with the name of its parent."""
    parent = ""
    for part in name.split(".", _MAX_DEPTH) if isinstance(name, str) else ():
        yield parent, part
        parent = f"{parent}.{part}" if parent else part


def _levels(state: Any, depth: int) -> Iterator[Mapping[Any, Any]]:
    if isinstance(state, dict) and depth < _MAX_DEPTH:
        yield state
        for value in state.values():
            yield from _levels(value, depth + 1)
