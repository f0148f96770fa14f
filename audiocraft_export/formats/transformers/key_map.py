"""Map tensor names between AudioCraft and transformers in both directions, without dropping a tensor."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Optional, Union

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing
from ...storage.lazy_bytes import Data, LazyBytes, slice_stream
from .model_files import USE

Names = Union[str, tuple[str, ...]]
Rules = Mapping[str, Names]
TensorsByName = dict[str, LazyTensor]


class KeyMap:
    """A map between the tensor names of AudioCraft and those of transformers.

    Args:
        rules: the names in transformers by those in AudioCraft. A tuple of names splits the tensor along its first
            dimension into equal parts. `*` matches a number, which is the same in all names of a rule. The first rule
            that matches applies.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = {source: (names,) if isinstance(names, str) else names for source, names in rules.items()}

    def to_transformers(self, tensors: Mapping[str, LazyTensor]) -> TensorsByName:
        """Rename tensors of AudioCraft to their names in transformers, without reading them.

        Raises:
            CheckpointError: if a name has no counterpart, or a tensor cannot be split into equal parts.
        """
        renamed: TensorsByName = {}
        for name, targets in self._match_all(tensors, "transformers").items():
            tensor = tensors[name]
            if len(targets) > 1 and (not tensor.shape or tensor.shape[0] % len(targets)):
                raise CheckpointError("unsupported-by-transformers",
                                      f"{name} has the shape {list(tensor.shape)}, which cannot be split into the "
                                      f"{len(targets)} equal parts that transformers expects", USE)
            renamed.update(zip(targets, split_tensor(tensor, len(targets))))
        return renamed

    def to_audiocraft(self, tensors: Mapping[str, LazyTensor]) -> TensorsByName:
        """Rename tensors of transformers to their names in AudioCraft, without reading them.

        Raises:
            CheckpointError: if a name has no counterpart, or a part of a split tensor is missing.
        """
        renamed: TensorsByName = {}
        for source, parts in self._match_all(tensors, "AudioCraft").items():
            missing = [part for part in parts if part not in tensors]
            if missing:
                raise CheckpointError("damaged-release", f"{source} cannot be restored: {listing(missing)} is missing",
                                      "export again")
            renamed[source] = join_tensors([tensors[part] for part in parts])
        return renamed

    def _match_all(self, names: Iterable[str], other: str) -> dict[str, list[str]]:
        """Return the names in transformers by those in AudioCraft, for all names that the library `other` lacks."""
        is_source = other == "transformers"
        matches = {name: self._match(name, is_source) for name in names}
        unmapped = [name for name, match in matches.items() if match is None]
        if unmapped:
            raise CheckpointError("unsupported-by-transformers" if is_source else "damaged-release",
                                  f"{other} has no tensor that corresponds to {listing(unmapped)}",
                                  USE if is_source else "export again")
        return dict(filter(None, matches.values()))

    def _match(self, name: str, is_source: bool) -> Optional[tuple[str, list[str]]]:
        """Return the name in AudioCraft and the names in transformers of a tensor; None if no rule matches."""
        for source, targets in self._rules.items():
            for pattern in [source] if is_source else targets:
                match = _pattern(pattern).fullmatch(name)
                if match:
                    return _substitute(source, match), [_substitute(target, match) for target in targets]
        return None


def split_tensor(tensor: LazyTensor, count: int) -> list[LazyTensor]:
    """Split a contiguous tensor into equal parts along its first dimension, each with its own bytes."""
    if count == 1:
        return [tensor]
    shape = (tensor.shape[0] // count, *tensor.shape[1:])
    nbytes = tensor.nbytes // count
    return [replace(tensor, blob=tensor.own_bytes.slice(index * nbytes, nbytes), offset=0, shape=shape)
            for index in range(count)]


def join_tensors(parts: Sequence[LazyTensor]) -> LazyTensor:
    """Concatenate contiguous tensors along the first dimension, without reading them."""
    if len(parts) == 1:
        return parts[0]
    blobs = [part.own_bytes for part in parts]

    def read(begin: int, end: int) -> Iterator[Data]:
        yield from slice_stream(chain.from_iterable(blob.iter_chunks() for blob in blobs), begin, end)

    joined = LazyBytes(sum(blob.nbytes for blob in blobs), read, name=blobs[0].name)
    return replace(parts[0], blob=joined, offset=0, shape=(sum(part.shape[0] for part in parts), *parts[0].shape[1:]))


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(r"(\d+)".join(map(re.escape, name.split("*"))))


def _substitute(name: str, match: re.Match[str]) -> str:
    """Replace each `*` in a name of a rule with a number of a match."""
    first, *rest = name.split("*")
    return first + "".join(number + each for number, each in zip(match.groups(), rest))
