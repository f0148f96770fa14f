"""Names of tensors in two libraries, as data: a map is read in both directions, and drops nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Optional, Union

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing
from ...storage.lazy_bytes import Data, LazyBytes, slice_stream

Names = Union[str, tuple[str, ...]]
Rules = Mapping[str, Names]
Renamed = dict[str, LazyTensor]


class KeyMap:
    """A map between the names of AudioCraft and those of transformers.

    Args:
        rules: by a name of AudioCraft, the name of transformers; or the names of the equal parts into which the tensor
            is cut along its first dimension. `*` is a number, the same in both. The first rule that fits counts.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = [(theirs, (ours,) if isinstance(ours, str) else ours) for theirs, ours in rules.items()]

    def to_transformers(self, tensors: Mapping[str, LazyTensor]) -> Renamed:
        """Tensors of AudioCraft by the names of transformers; nothing is read.

        Raises:
            CheckpointError: if the map has no place for one, or one has no such parts; the message names it.
        """
        renamed: Renamed = {}
        for name, tensor in tensors.items():
            targets = self._targets(name)
            if targets is None:
                raise CheckpointError(_unmapped("transformers", [key for key in tensors if not self._targets(key)]))
            if len(targets) > 1 and (not tensor.shape or tensor.shape[0] % len(targets)):
                raise CheckpointError(f"{name} of this model is {list(tensor.shape)}, which is not the "
                                      f"{len(targets)} equal parts that transformers has: use format=safetensors, or "
                                      "format=audiocraft.")
            for target, part in zip(targets, split(tensor, len(targets))):
                renamed[target] = part
        return renamed

    def to_audiocraft(self, tensors: Mapping[str, LazyTensor]) -> Renamed:
        """Tensors of transformers by the names of AudioCraft; nothing is read.

        Raises:
            CheckpointError: if the map has no place for one, or a part of one is missing; the message names it.
        """
        renamed: Renamed = {}
        rest = dict(tensors)
        for name in tensors:
            if name not in rest:
                continue
            found = self._source(name)
            if found is None:
                raise CheckpointError(_unmapped("AudioCraft", [key for key in tensors if not self._source(key)]))
            source, parts = found
            missing = [part for part in parts if part not in rest]
            if missing:
                raise CheckpointError(f"{source} cannot be put together: {listing(missing)} is missing, so these files "
                                      "are not those of one release: export again.")
            renamed[source] = joined([rest.pop(part) for part in parts])
        return renamed

    def _targets(self, name: str) -> Optional[list[str]]:
        for theirs, ours in self._rules:
            found = _pattern(theirs).fullmatch(name)
            if found:
                return [_filled(each, found) for each in ours]
        return None

    def _source(self, name: str) -> Optional[tuple[str, list[str]]]:
        for theirs, ours in self._rules:
            for each in ours:
                found = _pattern(each).fullmatch(name)
                if found:
                    return _filled(theirs, found), [_filled(part, found) for part in ours]
        return None


def split(tensor: LazyTensor, count: int) -> list[LazyTensor]:
    """A contiguous tensor in equal parts along its first dimension, each over its own bytes; nothing is read."""
    if count == 1:
        return [tensor]
    rows = tensor.shape[0] // count
    shape = (rows, *tensor.shape[1:])
    step = tensor.nbytes // count
    return [replace(tensor, blob=tensor.own_bytes.slice(index * step, step), offset=0, shape=shape)
            for index in range(count)]


def joined(parts: Sequence[LazyTensor]) -> LazyTensor:
    """Contiguous tensors as one, along the first dimension; nothing is read."""
    if len(parts) == 1:
        return parts[0]
    blobs = [part.own_bytes for part in parts]
    rows = sum(part.shape[0] for part in parts)

    def read(begin: int, end: int) -> Iterator[Data]:
        yield from slice_stream(chain.from_iterable(blob.iter_chunks() for blob in blobs), begin, end)

    return replace(parts[0], blob=LazyBytes(sum(blob.nbytes for blob in blobs), read, name=blobs[0].name), offset=0,
                   shape=(rows, *parts[0].shape[1:]))


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(r"(\d+)".join(map(re.escape, name.split("*"))))


def _filled(name: str, found: re.Match[str]) -> str:
    """A name of a rule with the numbers that were found."""
    first, *rest = name.split("*")
    return first + "".join(number + each for number, each in zip(found.groups(), rest))


def _unmapped(library: str, names: Sequence[str]) -> str:
    return (f"{library} has no place for {listing(names)} of this model, and nothing is left out: use "
            "format=safetensors, or format=audiocraft.")
