"""Encoders of the files of a release: torch.save, safetensors, or bytes as they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Union

from ..errors import CheckpointError, reason
from ..release.content import Content, Tensors
from ..storage.lazy_bytes import Sink
from .audiocraft.pickler import TorchPickle
from .safetensors.file import SafetensorsFile


class RawFile:
    """A string, as UTF-8, or bytes.

    Raises:
        CheckpointError: if a string cannot be encoded.
    """

    nonfinite: Mapping[str, int] = {}

    def __init__(self, content: Union[str, bytes]) -> None:
        try:
            self._data = content if isinstance(content, bytes) else content.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise CheckpointError(f"A text of the release is none in UTF-8 ({reason(exc)}): keep such characters out "
                                  "of the configuration.") from exc
        self.nbytes = len(self._data)

    def write(self, stream: Sink, checked: bool) -> None:
        """Write the bytes."""
        stream.write(self._data)

    def read_back(self, path: Path) -> None:
        """Refuse a written file that differs, with CheckpointError."""
        if path.read_bytes() != self._data:
            raise CheckpointError(f"{path.name} holds something else")

    def check_sources(self) -> None:
        """Do nothing: the bytes are in memory."""


def encode(content: Content) -> Union[RawFile, SafetensorsFile, TorchPickle]:
    """The encoder for the content of one file."""
    if isinstance(content, (str, bytes)):
        return RawFile(content)
    return SafetensorsFile(content) if isinstance(content, Tensors) else TorchPickle(content)


def dump(folder: Path, contents: Mapping[str, Content]) -> None:
    """Write files of a release for temporary use, without fsync and manifest; OSError if that fails."""
    for name, content in contents.items():
        with open(folder / name, "xb") as stream:
            encode(content).write(stream, checked=True)
