"""Encode release files: as torch.save, as safetensors, or as raw bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Union

from ..errors import CheckpointError, reason
from ..release.content import Content, Tensors
from ..storage.lazy_bytes import Sink
from ..storage.read_back import Part
from .audiocraft.pickler import TorchPickle
from .safetensors.file import SafetensorsFile


class RawFile:
    """A file whose content is bytes, or a string that is encoded as UTF-8.

    Raises:
        CheckpointError: if the string cannot be encoded.
    """

    nonfinite: Mapping[str, int] = {}

    def __init__(self, content: Union[str, bytes]) -> None:
        try:
            self._data = content if isinstance(content, bytes) else content.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise CheckpointError("invalid-config", f"Configuration is not valid UTF-8: {reason(exc)}",
                                  "remove the invalid characters from the configuration") from exc
        self.nbytes = len(self._data)

    def write(self, stream: Sink, checked: bool) -> list[Part]:
        """Write the bytes; `checked` has no effect."""
        stream.write(self._data)
        return [Part(self._data)]

    def check_sources(self) -> None:
        """Do nothing: the bytes are in memory."""


def encode(content: Content) -> Union[RawFile, SafetensorsFile, TorchPickle]:
    """Return the encoder for the content of one file.

    Raises:
        CheckpointError: if the content cannot be encoded.
    """
    if isinstance(content, (str, bytes)):
        return RawFile(content)
    return SafetensorsFile(content) if isinstance(content, Tensors) else TorchPickle(content)


def dump(folder: Path, contents: Mapping[str, Content]) -> None:
    """Write files of a release for temporary use, without fsync and manifest.

    Raises:
        CheckpointError: if bytes of a checkpoint are corrupted.
        OSError: if the files cannot be written.
    """
    for name, content in contents.items():
        with open(folder / name, "xb") as stream:
            encode(content).write(stream, checked=True)
