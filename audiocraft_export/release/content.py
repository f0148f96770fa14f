"""The content of release files, before a format encodes it."""

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from ..checkpoint.tensor import LazyTensor
from ..errors import ReleaseError, permission_hint, reason


@dataclass(frozen=True)
class Tensors:
    """The content of a safetensors file."""

    tensors: Mapping[str, LazyTensor]  # contiguous tensors by name
    metadata: Mapping[str, str]  # the metadata of the header


Content = Union[Mapping[Any, Any], Tensors, str, bytes]


def text_bytes(content: Content) -> Optional[bytes]:
    """Return the bytes of a text file; None for a file of tensors."""
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    return content if isinstance(content, bytes) else None


def has_bytes(path: Path, data: bytes) -> bool:
    """Return whether a file has exactly these bytes.

    Raises:
        ReleaseError: if the file cannot be read.
    """
    try:
        return os.path.getsize(path) == len(data) and path.read_bytes() == data
    except OSError as exc:
        raise ReleaseError("read-failed", f"Cannot read {path}: {reason(exc)}", permission_hint(exc)) from exc


class AttrDict(dict[str, Any]):
    """A mapping whose keys are also attributes after loading, like a config of OmegaConf, but without OmegaConf.

    The pickle has an OrderedDict with attributes: no other type with attributes passes `torch.load(weights_only=True)`.
    """

    @classmethod
    def of(cls, value: Any) -> Any:
        """Convert every mapping in plain data to an AttrDict; scalars are returned as they are."""
        if isinstance(value, dict):
            return cls({key: cls.of(item) for key, item in value.items()})
        return [cls.of(item) for item in value] if isinstance(value, list) else value

    @property
    def names(self) -> list[str]:
        """The keys that can be attributes: strings that are not attributes of OrderedDict already."""
        return [key for key in self
                if isinstance(key, str) and not key.startswith("__") and not hasattr(OrderedDict, key)]


def model_content(state: Mapping[str, Any], config: str, version: str) -> dict[str, Any]:
    """Return the content of an exported model, with the keys and their order of `audiocraft.utils.export`.

    Args:
        state: the state dict.
        config: the configuration as YAML.
        version: the AudioCraft version tag.
    """
    return {"best_state": state, "xp.cfg": config, "version": version, "exported": True}


def reference_content(pretrained: str, version: str) -> dict[str, Any]:
    """Return a reference to a public compression model, as `export_pretrained_compression_model` writes it."""
    return {"pretrained": pretrained, "exported": True, "version": version}
