"""What one process tells another through a file that both can see, on whichever machines they are.

A message is a line. Writing one opens and closes the file, and so does looking for new ones: that is all that file
systems of several machines promise (NFS: close-to-open consistency). A line that is not all there yet is read later.
"""

from __future__ import annotations

import os
import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """A file of messages: one process writes them, another reads each once.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def write(self, message: Any) -> None:
        """Add a message; it begins a line of its own, in case the one before was cut off.

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
        """The messages that have come since the last time.

        Args:
            last: whether no more will come: then what is not all there is not waited for.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(self._read)
                lines = file.readlines()
        except OSError:  # not there yet, or the file server is away: there is another time
            return
        for line in lines:
            if not last and (not line.endswith(b"\n") or b"\0" in line):  # a size may be seen before its bytes are
                return
            self._read += len(line)
            try:
                message = pickle.loads(b64decode(line.strip(), validate=True)) if line.strip() else None
            except Exception:  # cut off, with its process
                continue
            if message is not None:
                yield message
