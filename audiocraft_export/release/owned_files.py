"""Which names the files of a release may have, in any format: what has another is somebody else's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Optional

from .families import audioseal
from .families.registry import FAMILIES, GENERAL
from .manifest import Manifest

_SHARD = r"(-\d{5}-of-\d{5})?\.safetensors|\.safetensors\.index\.json"
_PORTABLE = (rf"(compression_)?model({_SHARD}|\.json)", r"(compression_)?config(_\d+)?\.yaml",
             rf"(generator|detector)_{{}}({_SHARD})")
_TRANSFORMERS = (r"(|generation_|preprocessor_|processor_|tokenizer_)config\.json", r"tokenizer\.json",
                 r"(special_tokens_map|added_tokens)\.json", r"spiece\.model", r"conditioners\.safetensors")


def is_release_file(name: Any, sig: Optional[str]) -> bool:
    """Whether a file of a release may have this name, which stands in a manifest.

    Args:
        name: the name.
        sig: the signature in that manifest.
    """
    return isinstance(name, str) and _fits(name, re.escape(audioseal.name_of(sig)))


def release_file_names(manifest: Manifest) -> list[str]:
    """The files of a release by its manifest, but for names that no file of a release has."""
    return [file.name for file in manifest.files if is_release_file(file.name, manifest.sig)]


def may_be_release_file(name: str) -> bool:
    """Whether a file of some release may have this name, whatever its signature."""
    return _fits(name, r"[\w-]+")


def is_torch_file(name: str) -> bool:
    """Whether a file of a release is one of torch."""
    return name.endswith((".bin", ".pth"))


def _fits(name: str, sig: str) -> bool:
    return any(re.fullmatch(pattern.replace("{}", sig), name) for pattern in _patterns())


def _patterns() -> Iterator[str]:
    for family in (GENERAL, *FAMILIES.values()):
        yield from (re.escape(name).replace(r"\{\}", "{}") for name in family.names)
    yield from _PORTABLE
    yield from _TRANSFORMERS
