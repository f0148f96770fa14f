"""Prefixes that wrappers of a training put into the names of a model's tensors: torch.compile, DDP, FSDP."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import CheckpointError

_WRAPPERS = {  # part of a name, and what puts it there; no model of AudioCraft has a module of these names
    "_orig_mod": "torch.compile", "module": "DistributedDataParallel or DataParallel", "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
_MAX_DEPTH = 64  # parts of a name that are looked at, and levels of nested states


def strip_wrappers(state: Mapping[Any, Any], source: str) -> tuple[dict[Any, Any], tuple[str, ...]]:
    """Take the prefixes of wrappers off the names of a state dict; also gives a note for each, for the manifest.

    Raises:
        CheckpointError: if two tensors would get the same name.
    """
    stripped: dict[Any, Any] = {}
    origins: dict[Any, Any] = {}
    counts: Counter[str] = Counter()
    for name, value in state.items():
        found = _wrappers_in(name)
        counts.update(found)
        kept = [part for part in _parents(name) if part not in found]
        short = ".".join([*kept, name.rpartition(".")[2]]) if found else name
        if short in stripped:
            raise CheckpointError(f"{source} has both {origins[short]!r} and {name!r}, which are the same name without "
                                  "the prefixes of torch.compile and DDP: store the state of the bare model.")
        stripped[short], origins[short] = value, name
    return stripped, tuple(f"took the prefix {part}. ({_WRAPPERS[part]}) off {count} names of {source}"
                           for part, count in counts.items())


def wrapper_warnings(state: Mapping[Any, Any], source: str) -> Iterator[str]:
    """Warnings about such prefixes in the weights of a project of one's own, which keep their names.

    There, `module` counts where it is the only child of its parent: a module may well be called so.
    """
    counts: Counter[str] = Counter()
    for level in _levels(state, 0):
        for name in level:
            counts.update(_wrappers_in(name) - {"module"})
        counts["module"] += _count_ddp([name for name in level if isinstance(name, str)])
    for part, count in (+counts).items():
        yield (f"{count} names of {source} have the prefix {part}. of {_WRAPPERS[part]}, which the bare model does not "
               "have: remove it to load them there")


def _levels(state: Any, depth: int) -> Iterator[Mapping[Any, Any]]:
    if isinstance(state, dict) and depth < _MAX_DEPTH:
        yield state
        for value in state.values():
            yield from _levels(value, depth + 1)


def _count_ddp(names: list[str]) -> int:
    """How many names have a parent whose only child is called `module`."""
    parents = {prefix for name in names for prefix, part in _prefixes(name) if part == "module"}
    mixed = {prefix for name in names for prefix, part in _prefixes(name) if prefix in parents and part != "module"}
    mixed |= {name.rpartition(".")[0] for name in names}  # tensors are children, too
    return sum(any(part == "module" and prefix not in mixed for prefix, part in _prefixes(name)) for name in names)


def _prefixes(name: str) -> Iterator[tuple[str, str]]:
    """Each module in the path of a tensor, with the path of its parent."""
    prefix = ""
    for part in _parents(name)[:_MAX_DEPTH]:
        yield prefix, part
        prefix = f"{prefix}.{part}" if prefix else part


def _parents(name: Any) -> list[str]:
    return name.split(".")[:-1] if isinstance(name, str) else []


def _wrappers_in(name: Any) -> set[str]:
    return set(_WRAPPERS).intersection(_parents(name))
