"""An append-only file of messages between processes, on whichever machines they are: a message is a line."""

import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class MessageLog:
    """A file of messages: one process writes them, another reads each once.

    The file is opened and closed each time: file systems of several machines promise no more (NFS: close-to-open).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def write(self, message: Any) -> None:
        """Append a message, or raise OSError; it begins a line of its own, in case the one before was cut off."""
        with open(self.path, "ab", buffering=0) as file:
            left = memoryview(b"\n" + b64encode(pickle.dumps(message)) + b"\n")
            while left:  # a disk that gets full takes a part, and only then refuses
                left = left[file.write(left):]

    def read(self, last: bool = False) -> Iterator[Any]:
        """Read the messages that have arrived since the last time; the `last` time, incomplete ones are left out."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                lines = file.readlines()
        except OSError:  # not there yet, or the file server is away: there is another time
            return
        for line in lines:
            if not last and (not line.endswith(b"\n") or b"\0" in line):  # a size may be seen before its bytes are
                return
            self._offset += len(line)
            try:
                if line.strip():
                    yield pickle.loads(b64decode(line.strip(), validate=True))
            except Exception:  # cut off, with its process
                continue
