"""An append-only file of messages between processes, on whichever machines they are.

A message is a line. Writing one opens and closes the file, and so does looking for new ones: that is all that file
systems of several machines promise (NFS: close-to-open consistency).
"""

from __future__ import annotations

import os
import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class MessageLog:
    """A file of messages: one process writes them, another reads each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def write(self, message: Any) -> None:
        """Append a message; it begins a line of its own, in case the one before was cut off.

        Raises:
            OSError: if the file cannot be written.
        """
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            left = memoryview(b"\n" + b64encode(pickle.dumps(message)) + b"\n")
            while left:  # a disk that gets full takes a part, and only then refuses
                left = left[os.write(descriptor, left):]
        finally:
            os.close(descriptor)

    def read(self, last: bool = False) -> Iterator[Any]:
        """Read the messages that have arrived since the last time.

        Args:
            last: whether no more will arrive, so that incomplete ones are not waited for.
        """
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
