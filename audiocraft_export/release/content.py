"""What the files of a release hold, before they are written in any format."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from ..checkpoint.tensor import LazyTensor


@dataclass(frozen=True)
class Tensors:
    """What a file of safetensors holds, before it is written."""

    tensors: Mapping[str, LazyTensor]  # contiguous, by name
    metadata: Mapping[str, str]  # of the header


Content = Union[Mapping[Any, Any], Tensors, str, bytes]


def text_bytes(content: Content) -> Optional[bytes]:
    """The bytes of a file of text; None for one of tensors."""
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    return content if isinstance(content, bytes) else None


class AttrDict(dict[str, Any]):
    """A mapping whose keys are attributes as well once it is loaded, as in OmegaConf, but without OmegaConf.

    It is written as an OrderedDict with attributes: `torch.load(weights_only=True)` gives no other such type.
    """

    @classmethod
    def of(cls, value: Any) -> Any:
        """Convert every mapping in plain data."""
        if isinstance(value, dict):
            return cls({key: cls.of(item) for key, item in value.items()})
        return [cls.of(item) for item in value] if isinstance(value, list) else value

    @property
    def names(self) -> list[str]:
        """The keys that can be attributes; those of dict's own methods cannot."""
        return [key for key in self
                if isinstance(key, str) and not key.startswith("__") and not hasattr(OrderedDict, key)]


def model_content(state: Mapping[str, Any], config: str, version: str) -> dict[str, Any]:
    """The four keys of an exported model, as `audiocraft.utils.export` names and orders them; `config` is YAML."""
    return {"best_state": state, "xp.cfg": config, "version": version, "exported": True}


def reference_content(pretrained: str, version: str) -> dict[str, Any]:
    """A compression model by its public name, as `export_pretrained_compression_model` writes it."""
    return {"pretrained": pretrained, "exported": True, "version": version}
